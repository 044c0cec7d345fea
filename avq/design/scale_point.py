"""What `avq-bench scale` measures: one point, and how fast the machine is."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from avq.design.run import model_content
from avq.design.task import Task

if TYPE_CHECKING:
    from avq.profiling.scaling import Point


@dataclass(frozen=True, eq=False)
class ScalePoint(Task):
    """Memory and time of a layer or a variant at one size, measured alone on a machine.

    Attributes:
        point: what is measured.
        machine: the hardware, as `machine_name` returns it.
        code: fingerprint of the code that is measured, and that measures.
    """

    kind: ClassVar[str] = "scale-point"

    point: Point
    machine: str
    code: str

    @property
    def content(self) -> dict[str, Any]:
        from avq.training.config import TrainConfig, effective, step_settings

        model = model_content(None, self.point.model) if self.point.model else {}
        training = step_settings(effective(TrainConfig()))  # a step's, at their defaults
        return asdict(self.point) | training | {"model": model, "machine": self.machine}

    @property
    def label(self) -> str:
        return "scale-" + re.sub(r"[^\w.-]+", "-", self.point.label).strip("-")


@dataclass(frozen=True, eq=False)
class MachineRates(Task):
    """How fast a device multiplies matrices and copies memory."""

    kind: ClassVar[str] = "rates"

    machine: str
    device: str
    threads: int
    code: str

    @property
    def content(self) -> dict[str, Any]:
        return {"machine": self.machine, "device": self.device, "threads": self.threads}

    @property
    def label(self) -> str:
        return f"rates-{self.device.replace(':', '')}"
