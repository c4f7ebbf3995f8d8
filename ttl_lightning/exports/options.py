"""What `export` and `latency` take on the command line, checked; imports nothing that is slow."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass

from ttl_lightning.errors import ConfigError, check_choice, check_number

FORMATS = ("onnx", "pt2", "safetensors", "timm", "bundle")
PREPROCESSING = ("inside", "none")
HOLDS_GRAPH = ("onnx", "pt2")
"""Formats whose graph may hold the preprocessing or not; a bundle always does."""
ENGINES = ("torch", "onnx", "openvino")
EXTRA = "pip install 'ttl_lightning[export]'"
_ONNX = ("onnx", "onnxscript", "onnxruntime")
NEEDS = {"onnx": _ONNX, "bundle": ("fire",)}
# OpenVINO reads the ONNX file; not every processor and system has it, so it is an extra of its own
OPENVINO = (*_ONNX[:2], "openvino")
EXTRA_OPENVINO = "pip install 'ttl_lightning[export,openvino]'"


@dataclass(slots=True)
class ExportOptions:
    """What to export.

    Attributes:
        run: the folder of a completed run.
        format: one of `FORMATS`.
        output: the export's folder; by default in the run's own.
        preprocessing: `inside` (the default): the graph takes stored images of values from 0 to 1
            and reads them as evaluation does; `none`: it takes the network's own input.
        quantize: `int8` quantises an ONNX file.
        overwrite: replace an export that is there.
        images: a folder of images to compare on, where the run's data are gone.
        calibration: training images that int8's ranges are measured on.
    """

    run: str = ""
    format: str = ""
    output: str | None = None
    preprocessing: str | None = None
    quantize: str | None = None
    overwrite: bool = False
    images: str | None = None
    calibration: int = 256

    def __post_init__(self) -> None:
        """Check what was given.

        Raises:
            ConfigError: naming the key.
        """
        if not self.run:
            raise ConfigError("which run? Give run=FOLDER.")
        if not self.format:
            raise ConfigError(f"which format? Give format={'|'.join(FORMATS)}.")
        check_choice("format", self.format, FORMATS)
        if self.preprocessing is not None:
            check_choice("preprocessing", self.preprocessing, PREPROCESSING)
            if self.format not in HOLDS_GRAPH:
                raise ConfigError(
                    f"preprocessing={self.preprocessing} is for format={' and '.join(HOLDS_GRAPH)}"
                    f", got format={self.format}."
                )
        if self.quantize is not None:
            check_choice("quantize", self.quantize, ("int8",))
            if self.format != "onnx":
                raise ConfigError(f"quantize=int8 is for format=onnx, got format={self.format}.")
            if self.images is not None:
                raise ConfigError(
                    "quantize=int8 measures ranges and metrics on the run's own data, not on "
                    "images=…: leave images out."
                )
        check_number("calibration", self.calibration, 1, 100_000, integer=True)
        demand(self.format, NEEDS.get(self.format, ()))

    @property
    def inside(self) -> bool:
        """Whether what is exported reads stored images."""
        return self.format == "bundle" or (
            self.format in HOLDS_GRAPH and self.preprocessing != "none"
        )


@dataclass(slots=True)
class LatencyOptions:
    """What to time.

    Attributes:
        run: the folder of a completed run.
        engine: which of `ENGINES`, by commas.
        batch: batch sizes, by commas.
        threads: numbers of threads, by commas.
        image_size: height and width of the input (of volumes slices, height and width, by commas)
            in place of the run's own.
        quantize: `int8` times quantised ONNX files as well.
    """

    run: str = ""
    engine: str = "torch,onnx"
    batch: str = "1,32"
    threads: str = "1,2"
    image_size: str | None = None
    quantize: str | None = None

    def __post_init__(self) -> None:
        """Check what was given.

        Raises:
            ConfigError: naming the key.
        """
        if not self.run:
            raise ConfigError("which run? Give run=FOLDER.")
        for engine in self.engines:
            check_choice("engine", engine, ENGINES)
        for key in ("batch", "threads", "image_size"):
            numbers(key, getattr(self, key))
        if self.quantize is not None:
            check_choice("quantize", self.quantize, ("int8",))
            if "onnx" not in self.engines:
                raise ConfigError(f"quantize=int8 is for engine=onnx, got engine={self.engine}.")
        if "onnx" in self.engines:
            demand("onnx", NEEDS["onnx"])
        if "openvino" in self.engines:
            demand("engine=openvino", OPENVINO, EXTRA_OPENVINO)

    @property
    def engines(self) -> tuple[str, ...]:
        """Those to time."""
        return tuple(dict.fromkeys(part.strip() for part in self.engine.split(",")))


def numbers(key: str, given: str | None) -> tuple[int, ...]:
    """Positive integers by commas, in brackets or not; none of None.

    Raises:
        ConfigError: naming the key and what was given.
    """
    if given is None:
        return ()
    parts = [part.strip() for part in given.strip("[]").split(",")]
    if not all(part.isdecimal() and 0 < int(part) <= 65536 for part in parts):
        raise ConfigError(f"{key} must be integers from 1 to 65536 by commas, got {given!r}.")
    return tuple(dict.fromkeys(map(int, parts))) if key != "image_size" else tuple(map(int, parts))


def demand(what: str, packages: tuple[str, ...], extra: str = EXTRA) -> None:
    """Demand packages that are optional.

    Raises:
        ConfigError: naming those that are missing, and how they are had.
    """
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(f"{what} needs {', '.join(missing)}: {extra}.")
