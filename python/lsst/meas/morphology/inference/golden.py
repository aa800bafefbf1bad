# This file is part of meas_morphology.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# This program is free software: you can redistribute it and/or modify
# it under the terms of the GNU General Public License as published by
# the Free Software Foundation, either version 3 of the License, or
# (at your option) any later version.
#
# This program is distributed in the hope that it will be useful,
# but WITHOUT ANY WARRANTY; without even the implied warranty of
# MERCHANTABILITY or FITNESS FOR A PARTICULAR PURPOSE.  See the
# GNU General Public License for more details.
#
# You should have received a copy of the GNU General Public License
# along with this program.  If not, see <https://www.gnu.org/licenses/>.

"""Whether an engine gives the outputs that the model's makers got."""

from __future__ import annotations

__all__ = ("TOLERANCES", "GoldenReport", "Tolerance", "check_golden")

import dataclasses
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from ..model.package import ModelPackage
from .engine import Engine
from .options import EngineOptions


@dataclasses.dataclass(frozen=True)
class Tolerance:
    """How far an output may be from a golden value.

    The larger of the two bounds holds.
    """

    absolute: float
    """Largest difference of small values."""

    relative: float
    """Largest difference over the golden value's size."""

    def allows(self, value: npt.NDArray[np.float32], golden: npt.NDArray[np.float32]) -> bool:
        """Return whether all values are near enough; NaN never is."""
        bound = np.maximum(self.absolute, self.relative * np.abs(golden))
        return bool(np.all(np.abs(value - golden) <= bound))


TOLERANCES = {
    "float32": Tolerance(absolute=5e-4, relative=5e-6),
    "autocast": Tolerance(absolute=0.1, relative=0.05),
}
"""For each precision, how far outputs may be from the golden ones."""


@dataclasses.dataclass(frozen=True)
class GoldenReport:
    """How an engine's outputs compare with the golden ones."""

    description: str
    """What ran the model, and where."""

    count: int
    """Number of golden stamps."""

    differences: Mapping[str, float]
    """Largest difference in any value of each output."""

    tolerance: Tolerance
    """What was allowed."""

    passed: bool
    """Whether every output was within the tolerance."""

    @property
    def max_abs_alpha(self) -> float | None:
        """Largest difference in any concentration; `None` without votes."""
        return self.differences.get("alpha")

    @property
    def max_abs_embedding(self) -> float | None:
        """Largest difference in any feature; `None` without embedding."""
        return self.differences.get("embedding")

    def __str__(self) -> str:
        differences = [f"{name} differs by at most {value:.2g}" for name, value in self.differences.items()]
        return (
            f"{'reproduced' if self.passed else 'NOT reproduced'} by {self.description}: for {self.count}"
            f" stamps {' and '.join(differences)} (tolerance {self.tolerance.absolute:g}, or"
            f" {self.tolerance.relative:g} of the value)"
        )


def check_golden(package: ModelPackage, options: EngineOptions) -> GoldenReport:
    """Run a package's golden inputs and compare the outputs.

    Parameters
    ----------
    package
        The model.
    options
        How to run it. The engine is made for the purpose and not kept.

    Raises
    ------
    DeviceError
        Raised if the device or precision is not to be had.
    ModelPackageError
        Raised if the network does not fit its manifest.
    """
    golden = package.golden()
    engine = Engine.from_package(package, options)
    predictions = engine.predict(golden["flux"], golden["valid"])
    tolerance = TOLERANCES[options.precision]
    passed = True
    differences: dict[str, float] = {}
    for name in package.manifest.outputs:
        value = getattr(predictions, name)
        passed = passed and tolerance.allows(value, golden[name])
        differences[name] = float(np.max(np.abs(value - golden[name])))
    return GoldenReport(engine.description, len(golden["flux"]), differences, tolerance, passed)
