"""What the documents show is what the code does."""

import runpy

from servers import ROOT


def test_the_state_diagram_is_drawn_from_the_code() -> None:
    """docs/architecture.md has the diagram that docs/draw_states.py draws today."""
    drawn = runpy.run_path(str(ROOT / "docs" / "draw_states.py"))
    assert drawn["page"]() == (ROOT / "docs" / "architecture.md").read_text(), "run python docs/draw_states.py"


def test_the_read_model_of_the_documentation_is_the_example() -> None:
    """docs/projections.md shows examples/read_model.py, which a test runs."""
    shown = (ROOT / "docs" / "projections.md").read_text().split("```python\n")[1].split("```")[0]
    assert shown == (ROOT / "examples" / "read_model.py").read_text()
