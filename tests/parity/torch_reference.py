"""Write the weights and outputs of a torchvision net; test_parity.py runs this in its own process.

torch_reference.py NAME FOLDER SIZE… writes into FOLDER/SIZE: before.npz with the state by PyTorch's names, images.npy
[N, SIZE, SIZE, 3], labels.npy [N], logits.npy [N, 10] for before.npz, after.npz with the state after one SGD step of
rate 10 on these images (dropout at 0, auxiliary classifiers' losses at 0.3), parameters.txt (trainable ones).

Where rounding makes another pixel of a pool's window the largest, or makes a unit positive, a gradient jumps. In
float32 that happens in one of the two nets, so this one computes in float64, on few images and with most units well
above 0. At a low learning rate, the updates would be lost in the rounding of the weights.
"""

import sys
from pathlib import Path

import numpy as np

MODELS = {  # name here and in torchvision: options of torchvision's function
    "alexnet": {},
    "googlenet": {"aux_logits": True, "transform_input": False, "init_weights": False},
    "resnext50_32x4d": {},
}
CLASSES, IMAGES, RATE, AUXILIARY = 10, 4, 10.0, 0.3


def main(name, folder, size):
    """Write the files for images of one size."""
    import torch

    folder = folder / str(size)
    folder.mkdir()
    generator = np.random.default_rng(size)
    model = getattr(models(), name)(weights=None, num_classes=CLASSES, **MODELS[name])
    for module in model.modules():
        randomise(module, generator)
    model.double()
    images = generator.normal(size=(IMAGES, size, size, 3)).astype(np.float32)
    labels = generator.integers(0, CLASSES, IMAGES)
    np.save(folder / "images.npy", images)
    np.save(folder / "labels.npy", labels)
    (folder / "parameters.txt").write_text(str(sum(p.numel() for p in model.parameters() if p.requires_grad)))
    save(model, folder / "before.npz")
    x, y = torch.from_numpy(images.transpose(0, 3, 1, 2).astype(np.float64)), torch.from_numpy(labels)
    with torch.no_grad():
        np.save(folder / "logits.npy", model.eval()(x).numpy())
    logits = model.train()(x)
    main_logits, *auxiliary = logits if isinstance(logits, tuple) else (logits,)
    entropy = torch.nn.functional.cross_entropy
    loss = entropy(main_logits, y) + sum(AUXILIARY * entropy(each, y) for each in auxiliary)
    loss.backward()
    torch.optim.SGD(model.parameters(), RATE).step()
    save(model, folder / "after.npz")


def models():
    """Return torchvision.models.

    torchvision's compiled operators do not load beside a PyTorch for other devices. Its nets do not need them, but
    the import needs two of their names.
    """
    import torch

    try:
        import torchvision
    except RuntimeError:
        for missing in ("nms", "qnms"):
            torch.library.define(f"torchvision::{missing}", "(Tensor boxes, Tensor scores, float threshold) -> Tensor")
        import torchvision
    return torchvision.models


def save(model, path):
    """Write the state as float32 arrays by name."""
    np.savez(path, **{key: value.numpy().astype(np.float32) for key, value in model.state_dict().items()})


def randomise(module, generator):
    """Give a module's own tensors values that trained ones could have; switch off dropout."""
    import torch

    if isinstance(module, torch.nn.Dropout):
        module.p = 0.0
    is_batch_norm = isinstance(module, torch.nn.BatchNorm2d)
    for name, tensor in [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]:
        shape = tuple(tensor.shape)
        if not tensor.is_floating_point():
            continue
        if is_batch_norm:
            limits = {"bias": (1, 2), "running_mean": (-0.2, 0.2)}.get(name, (0.8, 1.2))
            values = generator.uniform(*limits, shape)
        else:
            values = generator.normal(0, (2 / np.prod(shape[1:])) ** 0.5 if len(shape) > 1 else 0.1, shape)
        with torch.no_grad():
            tensor.copy_(torch.from_numpy(values))


if __name__ == "__main__":
    for size in sys.argv[3:]:
        main(sys.argv[1], Path(sys.argv[2]), int(size))
