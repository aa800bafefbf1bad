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

"""The eight views of a square: turned and mirrored."""

from __future__ import annotations

__all__ = ("all_views", "mean_of_views", "mean_over_views")

import torch

_VIEWS = (
    (False, False, False),
    (False, True, False),
    (True, False, True),
    (True, True, True),
    (False, True, True),
    (False, False, True),
    (True, False, False),
    (True, True, False),
)
"""Whether each view is transposed, and then has rows and columns reversed.
The first two, four and eight are as different as so many can be."""


def all_views(images: torch.Tensor, count: int) -> torch.Tensor:
    """Return views of images, one view of all after the other.

    A galaxy means the same from whichever side its image is looked at, but
    a network does not say quite the same of it.

    Parameters
    ----------
    images
        Of shape ``[n, c, s, s]``.
    count
        Number of views: 1, 2, 4 or 8.

    Returns
    -------
    views
        Of shape ``[count * n, c, s, s]``; the first ``n`` are the images.
    """
    if count == 1:
        return images
    return torch.cat([_turned(images, *view) for view in _VIEWS[:count]])


def mean_of_views(maps: torch.Tensor, count: int) -> torch.Tensor:
    """Return the means of what was found in views, turned back.

    Parameters
    ----------
    maps
        Of the views that `all_views` returned, ``[count * n, c, s, s]``.
    count
        Number of views.

    Returns
    -------
    means
        Of shape ``[n, c, s, s]``.
    """
    if count == 1:
        return maps
    parts = maps.reshape(count, -1, *maps.shape[1:]).unbind(0)
    turned = [_turned_back(part, *view) for part, view in zip(parts, _VIEWS[:count], strict=True)]
    return torch.stack(turned).mean(dim=0)


def mean_over_views(vectors: torch.Tensor, count: int) -> torch.Tensor:
    """Return the means of what was said of views as wholes.

    Parameters
    ----------
    vectors
        Of the views that `all_views` returned, ``[count * n, w]``.
    count
        Number of views.

    Returns
    -------
    means
        Of shape ``[n, w]``.
    """
    return vectors.reshape(count, -1, vectors.shape[1]).mean(dim=0) if count > 1 else vectors


def _turned(images: torch.Tensor, transposed: bool, rows: bool, columns: bool) -> torch.Tensor:
    turned = images.transpose(-2, -1) if transposed else images
    return turned.flip([axis for axis, flipped in ((-2, rows), (-1, columns)) if flipped])


def _turned_back(images: torch.Tensor, transposed: bool, rows: bool, columns: bool) -> torch.Tensor:
    turned = images.flip([axis for axis, flipped in ((-2, rows), (-1, columns)) if flipped])
    return turned.transpose(-2, -1) if transposed else turned
