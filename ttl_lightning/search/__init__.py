"""Which cutoff to try next, and when to stop. Knows no configuration, no network, no files."""

from ttl_lightning.search.axes import Axis, Listed, Rates
from ttl_lightning.search.base import Choice, Method, Outcome, Plan, Trial, advance, best, ranked
from ttl_lightning.search.compare import Best, Compare, Round, Setting
from ttl_lightning.search.detected import Detected
from ttl_lightning.search.driver import Evaluation, SearchResult, search
from ttl_lightning.search.exhaustive import Exhaustive
from ttl_lightning.search.halving import Halving, Rung
from ttl_lightning.search.hierarchical import Hierarchical
from ttl_lightning.search.incremental import Incremental
from ttl_lightning.search.methods import METHODS, create_method
from ttl_lightning.search.predicted import Predicted

__all__ = [
    "METHODS", "Axis", "Best", "Choice", "Compare", "Detected", "Evaluation", "Exhaustive",
    "Halving", "Hierarchical", "Incremental", "Listed", "Method", "Outcome", "Plan",
    "Predicted", "Rates", "Round", "Rung", "SearchResult", "Setting", "Trial", "advance",
    "best", "create_method", "ranked", "search",
]  # fmt: skip
