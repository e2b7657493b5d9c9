"""Level 4: one works, the crowd waits, and the origin never sees more than it can bear."""

from .budget import OriginBudget
from .local_lease import FileLease
from .single import FlightCounts, SingleFlight
from .standing import BudgetStats

__all__ = ["BudgetStats", "FileLease", "FlightCounts", "OriginBudget", "SingleFlight"]
