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

"""Seconds by stage, for the task metadata."""

from __future__ import annotations

__all__ = ("Stopwatch",)

import contextlib
import time
from collections.abc import Iterator


class Stopwatch:
    """Adds up the wall-clock seconds spent in named stages."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        """Seconds by stage, in the order of first use."""

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the time spent inside the context to a stage.

        Parameters
        ----------
        name
            The stage; the same name may be used many times.
        """
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start

    def iterate[T](self, name: str, values: Iterator[T]) -> Iterator[T]:
        """Pass on an iterator's values, timing how long each takes to make.

        Parameters
        ----------
        name
            The stage that the making belongs to.
        values
            The iterator.

        Yields
        ------
        value
            Each value in turn.
        """
        while True:
            with self.stage(name):
                try:
                    value = next(values)
                except StopIteration:
                    return
            yield value

    def __str__(self) -> str:
        return ", ".join(f"{name} {seconds:.2f} s" for name, seconds in self.seconds.items())
