"""What readers see: `apply(document, event)` for each read model, and the catalogue of them."""

from tespes.projections.catalogue import READ_MODELS, TASK_VIEW, USAGE, Document, ReadModel, fold, kept, step
from tespes.projections.task_view import TaskView
from tespes.projections.usage import Usage

__all__ = ["READ_MODELS", "TASK_VIEW", "USAGE", "Document", "ReadModel", "TaskView", "Usage", "fold", "kept", "step"]
