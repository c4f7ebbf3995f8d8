"""The card of an export for people: `README.md` in the form of Hugging Face's model cards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Card = Mapping[str, Any]

LIBRARY = {
    "onnx": "onnx",
    "pt2": "pytorch",
    "safetensors": "ttl_lightning",
    "timm": "timm",
    "bundle": "monai",
}
_ASKED = (
    *("name", "strategy", "cutoff", "num_classes", "in_channels", "image_size", "head", "pooling"),
)
RUNS_VOLUMES = "Volumes are arrays (1, slices, height, width), prepared as the steps above say."


def page_of(card: Card, title: str) -> str:
    """The page's text.

    Args:
        card: as `card.card_of` makes it, with "checked" and, if it is quantised, "changes".
        title: of the run, in words.
    """
    parts = [
        _head(card),
        f"# {title}\n\n{_summary(card)}",
        "## Input\n\n" + _input(card),
        "## Output\n\n" + _output(card),
        "## Use\n\n" + _use(card),
        "## Test split\n\n" + _metrics(card),
        "## Cost\n\n" + _cost(card),
        "## Limits\n\n" + "\n".join(f"- {line}" for line in card["limits"]),
        "## Origin\n\n" + _origin(card),
    ]
    return "\n\n".join(parts) + "\n"


def _head(card: Card) -> str:
    licence = (card["weights"] or {}).get("licence")
    masks = card["contract"]["task"] == "segmentation"
    lines = [
        *([f"license: {licence}"] if licence else []),
        f"library_name: {LIBRARY[card['format']]}",
        f"pipeline_tag: image-{'segmentation' if masks else 'classification'}",
        "tags:",
        *(f"- {tag}" for tag in ("medical-imaging", "transfer-learning", "ttl_lightning")),
    ]
    return "\n".join(["---", *lines, "---"])


def _summary(card: Card) -> str:
    network, checked = card["network"], card["checked"]
    cut = f", cut after {network['cutoff']}" if network["strategy"] == "ttl" else ""
    quantised = " of int8" if card["quantize"] else ""
    return (
        f"{network['name']} (strategy {network['strategy']}{cut}) as `{card['file']}`{quantised}. "
        f"Loaded again in a process of its own, it is within "
        f"{checked['largest_difference']:.1e} of the run on {checked['source']}."
    )


def _input(card: Card) -> str:
    given = card["input"]
    numbered = [f"{number}. {step}" for number, step in enumerate(given["steps"], 1)]
    shape = " × ".join(map(str, given["shape"]))
    lines = [f"`{given['name']}`, {given['dtype']}, {shape} ({given['layout']}):", "", *numbered]
    if given["preprocessing"] == "inside":
        whole = card["contract"]["patched"] is None
        reads = f"reads a square of {given['crop']['side']:.6f} of the side, " if whole else ""
        lines += [
            "",
            f"The graph itself {reads}subtracts the mean {_listed(given['mean'])} and divides by "
            f"{_listed(given['std'])}.",
        ]
    else:
        lines += ["", f"Mean {_listed(given['mean'])}, std {_listed(given['std'])}."]
    return "\n".join(lines)


def _output(card: Card) -> str:
    shape = " × ".join(map(str, card["output"]["shape"]))
    activation = card["output"]["activation"]
    name = card["output"]["name"]
    contract = card["contract"]
    scaled = f"times {_listed(contract['spread'])} plus {_listed(contract['center'])}"
    numbers = activation == "linear"
    made = f"`{name}`, {shape}, " + ("in their own units" if numbers else f"after the {activation}")
    if card["format"] in ("safetensors", "timm"):
        they = f"{scaled} they are" if numbers else f"their {activation} is"
        made = f"The network's own outputs, {shape}; {they} the {name}"
    lines = [f"{made}, of: {', '.join(card['classes'])}."]
    thresholds = (card["operating"] or {}).get("thresholds") or {}
    if thresholds:
        listed = ", ".join(f"{name} from {value:.6g}" for name, value in thresholds.items())
        rule = card["operating"].get("rule")
        lines.append(f"Operating point ({rule}, chosen on the validation split): {listed}.")
    return "\n".join(lines)


def _use(card: Card) -> str:
    kind = card["format"]
    if kind == "bundle":
        code = (
            "python -m monai.bundle run --config_file configs/inference.json "
            "--dataset_dir IMAGES --output_dir FOUND"
        )
        return f"From this folder:\n\n```sh\n{code}\n```" + _volumes(card)
    code = "\n".join(_code(card))
    return f"```python\n{code}\n```" + _volumes(card)


def _volumes(card: Card) -> str:
    return f"\n\n{RUNS_VOLUMES}" if len(card["contract"]["image_size"]) == 3 else ""


def _code(card: Card) -> Sequence[str]:
    kind, given = card["format"], card["input"]
    if kind == "timm":
        return ['import timm\n\nnet = timm.create_model("local-dir:.", pretrained=True).eval()']
    if kind == "safetensors":
        asked = ", ".join(f"{key}={card['network'][key]!r}" for key in _ASKED)
        return [
            "import ttl_lightning as ttl",
            "from safetensors.torch import load_file",
            "",
            f"model = ttl.create_model({asked}, weights=None)",
            f'tensors = load_file("{card["file"]}")',
            'tensors = {k if k[:5] == "head." else f"backbone.{k}": v for k, v in tensors.items()}',
            "model.load_state_dict(tensors)",
        ]
    simple = given["preprocessing"] == "inside" and given["fit"] == "squash"
    others = len(card["contract"]["image_size"]) == 3 or card["contract"]["patched"]
    if others or not simple:
        load, ask = ["x = …  # float32, as above"], "x"
    else:
        load, ask = _reading(card), "x"
    if kind == "pt2":
        run = ["net = torch.export.load(FILE).module()", f"print(net(torch.from_numpy({ask})))"]
        first = ["import numpy as np", "import torch", "from PIL import Image"]
    else:
        run = [
            "session = onnxruntime.InferenceSession(FILE)",
            f'print(session.run(None, {{"image": {ask}}})[0])',
        ]
        first = ["import numpy as np", "import onnxruntime", "from PIL import Image"]
    names = [f'FILE, IMAGE = "{card["file"]}", "image.png"']
    return [*first, "", *names, *load, *run]


def _reading(card: Card) -> list[str]:
    """PIL's resizing of floating point, a channel at a time, is what the run does."""
    size = card["input"]["stored_size"]
    grey = card["contract"]["channels"] == 1
    last = ".mean(2, keepdims=True).round()" if grey else ""
    return [
        'pixels = np.asarray(Image.open(IMAGE).convert("RGB"), np.float32)' + last,
        "planes = [Image.fromarray(plane) for plane in pixels.transpose(2, 0, 1)]",
        f"planes = [plane.resize(({size}, {size}), Image.Resampling.BILINEAR) for plane in planes]",
        "x = np.stack([np.asarray(plane) for plane in planes])[None].round() / np.float32(255)",
    ]


def _metrics(card: Card) -> str:
    changes = card.get("changes")
    names = [key.removeprefix("test/") for key in card["metrics"]]
    rows = ["| metric | value | 95 % interval |", "|---|---|---|"]
    for name in names:
        span = card["intervals"].get(f"test/{name}")
        shown = f"{span[0]:.3f} to {span[1]:.3f}" if span else "–"
        rows.append(f"| {name} | {_number(card['metrics'][f'test/{name}'])} | {shown} |")
    text = f"Of the run, on its data `{card['run']['data']}`:\n\n" + "\n".join(rows)
    if changes:
        rows = ["| metric | float32 | int8 | difference |", "|---|---|---|---|"]
        rows += [
            f"| {name} | {_number(one['before'])} | {_number(one['after'])} | "
            f"{_number(one['difference'], '+.4f')} |"
            for name, one in changes.items()
        ]
        text += "\n\nWhat int8 changes, in the evaluation's one view:\n\n" + "\n".join(rows)
    return text


def _cost(card: Card) -> str:
    cost, whole = card["complexity"], card["complexity"]["untruncated"]
    if cost.get("params") is None:
        return "Not recorded."
    beside = ""
    if whole.get("params"):
        beside = (
            f"; the untruncated network has {whole['params'] / 1e6:.3f} M and "
            f"{whole['macs'] / 1e9:.4f} G"
        )
    size = " × ".join(map(str, cost["input_size"]))
    return (
        f"{cost['params'] / 1e6:.3f} M parameters, {cost['macs'] / 1e9:.4f} G multiply-adds for "
        f"an input of {size}{beside}."
    )


def _origin(card: Card) -> str:
    weights, run = card["weights"], card["run"]
    if weights is None:
        said = "Trained from random weights."
    else:
        licence = weights["licence"] or "not known"
        said = f"Training began with weights of {weights['source']}; their licence: {licence}."
    notes = f" {run['notes']}" if run.get("notes") else ""
    return (
        f"{said} The licence of the training data is not known to the program, and may bind what "
        f"is made of them.{notes}"
    )


def _listed(values: Sequence[float]) -> str:
    return "(" + ", ".join(f"{value:.6g}" for value in values) + ")"


def _number(value: float | None, form: str = ".4f") -> str:
    return "undefined" if value is None else format(value, form)
