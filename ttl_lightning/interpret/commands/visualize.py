"""What single channels respond to, before training and after it, by activation maximisation.

Source: the paper's Appendix E.
"""

from __future__ import annotations

from matplotlib.figure import Figure

from ttl_lightning.errors import check_number
from ttl_lightning.interpret.commands.findings import Findings
from ttl_lightning.interpret.commands.options import Visualize as Options
from ttl_lightning.interpret.maximisation import Maximised, maximise
from ttl_lightning.runs.open import OpenRun

PANEL_INCHES = 1.6
# What the title takes.
TITLE_INCHES = 5.4


def report(run: OpenRun, options: Options) -> Findings:
    """Draw channels of a unit for both models from the same noise.

    Raises:
        TTLError: if an option names what there is not.
    """
    check_number("count", options.count, 1, 64, integer=True)
    backbone = run.after.backbone
    unit = backbone.resolve(options.unit or "full")
    size = backbone.input_shape(run.result.model["image_size"])[1:]
    width = backbone.truncated(unit).output_shape(size)[0]
    channels = options.channels or list(range(min(options.count, width)))
    found = {
        when: maximise(model.backbone, unit, channels, size, options.steps, options.seed)
        for when, model in (("before", run.before), ("after", run.after))
    }
    rows = [
        {
            "unit": unit,
            "channel": channel,
            **{f"{when}_{part}": float(getattr(drawn, part)[i])
               for when, drawn in found.items() for part in ("start", "end")},
        }
        for i, channel in enumerate(channels)
    ]  # fmt: skip
    silent = int((found["after"].end <= 0).sum())
    headline = f"{len(channels)} channels of {unit} drawn before and after training"
    headline += f"; {silent} of them stay silent after it." if silent else "."
    return Findings(headline, rows, {}, {"": gallery(found, channels, f"{run.title}, {unit}")})


def gallery(found: dict[str, Maximised], channels: list[int], title: str) -> Figure:
    """A row a model, a column a channel; of volumes the middle slice."""
    size = (
        max(TITLE_INCHES, PANEL_INCHES * len(channels) + 0.6),
        (PANEL_INCHES + 0.3) * len(found) + 0.5,
    )
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(len(found), len(channels), squeeze=False)
    for line, (when, drawn) in zip(panels, found.items(), strict=True):
        for axes, channel, image in zip(line, channels, drawn.images, strict=True):
            flat = image[:, image.shape[1] // 2] if image.dim() == 4 else image
            shown = flat.permute(1, 2, 0) if len(flat) == 3 else flat[0]
            axes.imshow(shown.numpy(), cmap=None if len(flat) == 3 else "gray", vmin=0, vmax=1)
            axes.set_title(f"channel {channel}, {when}", fontsize=8)
            axes.set_axis_off()
    figure.suptitle(title, fontsize=9)
    return figure
