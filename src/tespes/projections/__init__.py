"""What readers see: `apply(document, event)` for each read model, and the catalogue of them."""

from tespes.projections.catalogue import READ_MODELS, TASK_VIEW, Document, ReadModel, fold
from tespes.projections.task_view import TaskView

__all__ = ["READ_MODELS", "TASK_VIEW", "Document", "ReadModel", "TaskView", "fold"]
