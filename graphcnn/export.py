"""Write a run's inference graph for another program, and hold what that program computes against ours.

  ./run.sh export --format=savedmodel             the newest run, as a folder for TensorFlow and its servers
  ./run.sh export --format=tflite --run=NAME      another run, as a file for TensorFlow Lite
  ./run.sh export --format=npz --run=a,b,c        the mean of several runs, as named arrays and JSON

The file is loaded by its own runtime before it takes its place: on 256 images the probabilities must agree to 1e-4.
"""

import json
import shutil
import sys
import warnings
import zipfile
from pathlib import Path

from graphcnn.common import paths
from graphcnn.common.command import run_command
from graphcnn.common.errors import InputError, unknown_name
from graphcnn.config import flags
from graphcnn.config.recipe import recipe_from_dict

ENDINGS = {"savedmodel": "", "tflite": ".tflite", "npz": ".npz"}  # of --format's values
IMAGES, BATCH = 256, 32  # compared, in batches
TOLERANCE = 1e-4  # of a probability
SIGNATURE = "serving_default"
ABOUT = "assets.extra/graphcnn.json"  # in a SavedModel of ours, where such things go


def define_flags():
    """Return this command's flags."""
    values = flags.new_flags()
    flags.define_ensemble(values)
    flags.define_data(values)
    flags.define(values, str, "format", "savedmodel", "savedmodel | tflite | npz")
    flags.define(values, str, "out", None, "folder or file to write (default: export/<run>, with the format's ending)")
    return values


def main(values, positional):
    """Write, check and put in place."""
    flags.no_positional(positional)
    if values.format not in ENDINGS:
        raise InputError(f"--format: {unknown_name(values.format, list(ENDINGS))}")
    several = flags.ensemble(values)
    from graphcnn.common.progress import say
    from graphcnn.evaluation import ensemble, predictor
    from graphcnn.ops.tf1 import reason, tf
    from graphcnn.storage.select_run import select_run

    root = flags.checkpoints_root(values)
    members = ensemble.chosen(root, values.run) if several else [select_run(root, values.run)]
    members = members if several else [ensemble.Member(members[0], members[0].config())]
    ensemble.check_one_graph(members)
    shares = [1 / len(members)] * len(members)
    if values.ensemble == "fitted":
        loaded = ensemble.loaded(members, values.data, options=flags.given_options(values))
        shares = [float(share) for share in ensemble.fitted_shares(loaded)]
    config = members[0].config
    out = Path(values.out).resolve() if values.out else paths.EXPORTS / _name(members, values.format)
    _check_replaceable(out, values.format)
    images, whose = _images(values, members[0])
    write, compute = FORMATS[values.format]
    pairs = [(member.run, member.config) for member in members]
    restored = predictor.restore_alone(pairs, shares)
    new = out.with_name(f".{out.name}.new")
    new.parent.mkdir(parents=True, exist_ok=True)
    _remove(new)
    try:
        with restored.session as session:
            expected = predictor.probabilities(session, restored.graph, images)
            try:
                write(new, restored, _about(members, shares))
            except tf.errors.OpError as error:
                raise InputError(f"{out}: cannot be written ({reason(error)})") from None
        found, runtime = compute(new, images)
        difference = float(abs(found - expected).max())
        if found.shape != expected.shape or not difference <= TOLERANCE:
            raise InputError(f"--format={values.format}: {runtime} differs by {difference:.2g}; nothing was replaced")
        size = sum(path.stat().st_size for path in [new, *new.rglob("*")] if path.is_file())
        if out.is_dir():
            old = out.with_name(f".{out.name}.old")
            _remove(old)
            out.rename(old)
            new.rename(out)
            _remove(old)
        else:
            new.replace(out)
    finally:
        _remove(new)
    say(f"{runtime} agrees on {len(images)} {whose}: largest difference of a probability {difference:.2g}")
    height, width = config["data"]["image_shape"]
    say(f"x: float32 [N, {height}, {width}, 3], pixels 0..{config['data']['pixel_max']}; hypothesis: float32 [N, "
        f"{len(config['class_names'])}], a column a class in this order: "
        f"{', '.join(config['class_names'][:10])}{' …' * (len(config['class_names']) > 10)}")  # fmt: skip
    say(f"written: {out}, {size:,} bytes")
    return 0


def _about(members, shares):
    """Return what a program needs to know beside the arrays, as JSON values."""
    config = members[0].config
    each = [
        {"run": member.run.name, "share": share, "recipe": member.config["recipe"]}
        for member, share in zip(members, shares, strict=True)
    ]
    data = {"image_shape": config["data"]["image_shape"], "pixel_max": config["data"]["pixel_max"]}
    return {**data, "class_names": config["class_names"], "members": each}


def _name(members, kind):
    return "+".join(member.run.name.replace("/", "-") for member in members) + ENDINGS[kind]


def _check_replaceable(out, kind):
    """Refuse to replace what such an export did not write."""
    if not out.exists():
        return
    if kind == "savedmodel":
        ours = (out / ABOUT).is_file() or (out.is_dir() and not any(out.iterdir()))
    elif kind == "tflite":
        ours = out.is_file() and out.read_bytes()[4:8] == b"TFL3"
    else:
        ours = False
        if zipfile.is_zipfile(out):
            with zipfile.ZipFile(out) as packed:
                ours = "config.json.npy" in packed.namelist()
    if not ours:
        raise InputError(f"--out={out}: exists, and is no {kind} of an export; name another")


def _remove(path):
    shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)


def _images(values, member):
    """Return (images float32 [IMAGES, H, W, 3], what they are): the run's own where its data are there, else noise."""
    import numpy as np

    from graphcnn.data import batches
    from graphcnn.storage.recorded_data import load_recorded_data

    config = member.config
    try:
        dataset, rows, dev_rows = load_recorded_data(
            member.run, config, values.data, options=flags.given_options(values)
        )
        return batches.as_rgb(dataset.x_train[(dev_rows if len(dev_rows) else rows)[:IMAGES]]), "of the run's images"
    except InputError:
        if values.data:
            raise
        shape, top = (IMAGES, *config["data"]["image_shape"], 3), config["data"]["pixel_max"]
        noise = np.random.default_rng(0).uniform(0, top, shape).astype(np.float32)
        return noise, "images of noise (the run's data are not where it recorded them)"


def _write_saved_model(folder, restored, said):
    from graphcnn.ops.tf1 import tf1

    graph, saved_model = restored.graph, tf1.saved_model
    with graph.graph.as_default():
        inputs = {"x": saved_model.build_tensor_info(graph.x)}
        outputs = {name: saved_model.build_tensor_info(getattr(graph, name)) for name in ("hypothesis", "logits")}
        method = saved_model.signature_constants.PREDICT_METHOD_NAME
        signature = saved_model.build_signature_def(inputs, outputs, method)
        builder = saved_model.Builder(str(folder))
        builder.add_meta_graph_and_variables(
            restored.session, [saved_model.tag_constants.SERVING], {SIGNATURE: signature}, saver=restored.saver
        )
        builder.save()
    (folder / ABOUT).parent.mkdir()
    (folder / ABOUT).write_text(json.dumps(said, indent=1) + "\n", encoding="utf-8")


def _run_saved_model(folder, images):
    import numpy as np

    from graphcnn.ops.tf1 import session, tf, tf1

    with tf1.Graph().as_default() as graph, session(graph) as running:
        loaded = tf1.saved_model.load(running, [tf1.saved_model.tag_constants.SERVING], str(folder))
        signature = loaded.signature_def[SIGNATURE]
        x, y = signature.inputs["x"].name, signature.outputs["hypothesis"].name
        found = [running.run(y, {x: images[n : n + BATCH]}) for n in range(0, len(images), BATCH)]
    return np.concatenate(found), f"TensorFlow {tf.__version__}"


def _write_tflite(path, restored, said):
    from graphcnn.ops.tf1 import quiet_stderr, tf1

    graph = restored.graph
    if any(operation.type == "ScaleAndTranslate" for operation in graph.graph.get_operations()):
        raise InputError(
            "--format=tflite: this run resizes its images inside the graph by an operation that TensorFlow Lite lacks; "
            "use --format=savedmodel, or train on images of the net's size"
        )
    with quiet_stderr():
        converter = tf1.lite.TFLiteConverter.from_session(restored.session, [graph.x], [graph.hypothesis])
        path.write_bytes(converter.convert())


def _run_tflite(path, images):
    import numpy as np

    from graphcnn.ops.tf1 import quiet_stderr, tf

    with warnings.catch_warnings(), quiet_stderr():
        warnings.simplefilter("ignore")  # of the interpreter's future package
        interpreter = tf.lite.Interpreter(model_path=str(path))
        given, found = interpreter.get_input_details()[0]["index"], []
        for n in range(0, len(images), BATCH):
            batch = images[n : n + BATCH]
            interpreter.resize_tensor_input(given, batch.shape)
            interpreter.allocate_tensors()
            interpreter.set_tensor(given, batch)
            interpreter.invoke()
            found.append(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]))
    return np.concatenate(found), f"TensorFlow Lite {tf.__version__}"


def _write_npz(path, restored, said):
    import numpy as np

    values = restored.session.run({variable.op.name: variable for variable in restored.graph.variables})
    with path.open("wb") as file:
        np.savez(file, **values, **{"config.json": np.array(json.dumps(said))})


def _run_npz(path, images):
    """Rebuild the graph from the file alone."""
    import numpy as np

    from graphcnn.evaluation import predictor
    from graphcnn.ops.tf1 import session, tf1
    from graphcnn.storage import checkpoint

    with np.load(path, allow_pickle=False) as file:
        values = dict(file)
    said = json.loads(str(values.pop("config.json")))
    found = [recipe_from_dict(each["recipe"], path) for each in said["members"]]
    shares = [each["share"] for each in said["members"]]
    graph = predictor.build_alone(found, said["image_shape"], len(said["class_names"]), shares)
    with graph.graph.as_default(), session(graph.graph) as running:
        running.run(tf1.global_variables_initializer())
        checkpoint.assign(running, graph.variables, values)
        return predictor.probabilities(running, graph, images), f"NumPy {np.__version__}, the graph rebuilt,"


FORMATS = {  # how each is written, and computed by its own runtime: (images) -> (probabilities, the runtime's name)
    "savedmodel": (_write_saved_model, _run_saved_model),
    "tflite": (_write_tflite, _run_tflite),
    "npz": (_write_npz, _run_npz),
}


if __name__ == "__main__":
    sys.exit(run_command("export", __doc__, define_flags(), main))
