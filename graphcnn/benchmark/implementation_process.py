"""Child processes that run one implementation each and answer requests in JSON."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import tempfile

from graphcnn.benchmark.job import Job
from graphcnn.common.errors import InputError
from graphcnn.common.isolated import module_command, working_folder


class ImplementationProcess:
    """A process of graphcnn.benchmark.implementations that has received its job; `close` ends the process.

    Args:
        name: graphcnn, keras or pytorch.
        precision: float32 or bfloat16.
        python: path of the interpreter that has the implementation's library.
        job: the job to train and evaluate.

    Attributes:
        versions, settings: text for the table.
        parameters: number of parameters of its net; None for graphcnn.
    """

    def __init__(self, name: str, precision: str, python: str, job: Job) -> None:
        self.name, self.precision = name, precision
        self.stderr = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115 (closed by close)
        self.folder = working_folder()
        command = module_command("graphcnn.benchmark.implementations", [name, precision], python)
        self.process = subprocess.Popen(
            command, cwd=self.folder.name, env=os.environ | {"CUDA_VISIBLE_DEVICES": "-1"},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.stderr, text=True,
        )  # fmt: skip
        try:
            reply = json.loads(self._ask(job.to_json()))
        except BaseException:
            self.close()
            raise
        self.versions, self.settings, self.parameters = reply["versions"], reply["settings"], reply["parameters"]

    def train(self, steps: int) -> list[float]:
        """Return the seconds of each training step."""
        return json.loads(self._ask(json.dumps({"train": steps})))

    def evaluate(self, images: int) -> float:
        """Return the seconds for computing the softmax outputs of `images` images."""
        return json.loads(self._ask(json.dumps({"evaluate": images})))

    def peak_memory(self) -> int:
        """Return the peak resident memory of the process so far, in bytes."""
        return json.loads(self._ask(json.dumps({"memory": True})))

    def peaks(self) -> dict[str, float]:
        """Return the machine's peak GFLOP/s in graphcnn's precision."""
        return json.loads(self._ask(json.dumps({"peaks": True})))

    def _ask(self, line: str) -> str:
        """Send a line of JSON and return the reply, also JSON.

        Raises:
            InputError: the process has ended; the message is the last line of its stderr.
        """
        assert self.process.stdin and self.process.stdout
        try:
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()
            reply = self.process.stdout.readline()
        except BrokenPipeError:
            reply = ""
        if not reply:
            status = self.process.wait()
            self.stderr.seek(0)
            lines = [text.strip() for text in self.stderr if text.strip()]
            message = lines[-1] if lines else "no message"
            raise InputError(f"{self.name} in {self.precision} ended with status {status}: {message}")
        return reply

    def close(self) -> None:
        """End the process."""
        assert self.process.stdin and self.process.stdout
        self.process.kill()
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()
        self.stderr.close()
        self.folder.cleanup()
