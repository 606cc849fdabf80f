"""The sharpness of a CT series, from the vendor's name of its reconstruction kernel.

Names are the makers' own and follow no standard. They are sorted into the four groups in which Armato et al. (Med Phys
2011, 38(2):915-931) describe the 1,018 series of LIDC-IDRI, in the order of spatial frequency: soft (67 series),
standard (560), slightly enhancing, here ``lung`` (264), and over-enhancing, here ``edge`` (127).
"""

from __future__ import annotations

import re
from typing import Literal, get_args

__all__ = ["KernelGroup", "kernel_group", "kernel_preference"]

#: In the order of preference: the more series of LIDC-IDRI are like it, the better does a model know it.
KernelGroup = Literal["standard", "lung", "unknown", "edge", "soft"]

_WORDS: dict[str, KernelGroup] = {
    # GE
    "SOFT": "soft",
    "STANDARD": "standard",
    "STND": "standard",
    "DETAIL": "standard",
    "CHEST": "standard",
    "LUNG": "lung",
    "BONE": "edge",
    "BONEPLUS": "edge",
    "EDGE": "edge",
    "ULTRA": "edge",
    # Philips
    "A": "soft",
    "B": "standard",
    "C": "standard",
    "L": "lung",
    "D": "edge",
    "E": "edge",
    # Canon
    "BODY": "standard",
}
#: Siemens: a letter or two, then a number that grows with sharpness: B30f, Br40d, I31f, Bl57.
_SIEMENS = re.compile(r"[A-Z][A-Z]?(\d\d)[A-Z]?")
#: Canon, before Toshiba: FC and the number of a family.
_CANON = re.compile(r"FC(\d\d)")


def kernel_group(kernel: str) -> KernelGroup:
    r"""Group of a ConvolutionKernel; of several values, joined by a backslash, the first counts.

    Example:
        >>> [kernel_group(name) for name in ("STANDARD", "B31f", r"Br40d\3", "FC51", "BONEPLUS", "B70f", "")]
        ['standard', 'standard', 'standard', 'lung', 'edge', 'edge', 'unknown']
    """
    name = kernel.split("\\")[0].strip().upper()
    if name in _WORDS:
        return _WORDS[name]
    if match := _CANON.fullmatch(name):
        return _canon(int(match[1]))
    if match := _SIEMENS.fullmatch(name):
        return _siemens(int(match[1]))
    return "unknown"


def kernel_preference(kernel: str) -> int:
    """Rank of a kernel, 0 the most wanted: standard, lung, unknown, edge, soft.

    Example:
        >>> kernel_preference("LUNG") < kernel_preference("BONE") < kernel_preference("SOFT")
        True
    """
    return get_args(KernelGroup).index(kernel_group(kernel))


def _siemens(number: int) -> KernelGroup:
    if number < 30:
        return "soft"
    if number <= 45:
        return "standard"
    return "lung" if number < 70 else "edge"


def _canon(number: int) -> KernelGroup:
    if number < 20:
        return "standard"
    if 50 <= number < 60:
        return "lung"
    return "edge" if 30 <= number < 40 or 80 <= number < 90 else "unknown"
