"""What the documents show is what the code does."""

import runpy

from servers import ROOT


def test_the_state_diagram_is_drawn_from_the_code() -> None:
    """docs/architecture.md has the diagram that docs/draw_states.py draws today."""
    drawn = runpy.run_path(str(ROOT / "docs" / "draw_states.py"))
    assert drawn["page"]() == (ROOT / "docs" / "architecture.md").read_text(), "run python docs/draw_states.py"
