"""The runner as one text that travels with every job: small, and quick to begin on the node.

A zip archive whose members are stored, compressed as a whole, in base64. Each module is there as source, for any Python,
and compiled for ours: a node with the same version need not compile it for every job, which halves a small job's cost.
Both are without docstrings, comments and annotations, and what is compiled without line numbers: they would be half of it.
"""

import ast
import base64
import functools
import importlib.util
import io
import marshal
import types
import zipfile
import zlib
from importlib import resources

PACKAGE = "tespes_runner"
_ONLY_FOR_TYPES = "protocol.py"


@functools.cache
def bundle() -> str:
    """The package `tespes.runner`: base64 of zlib of a zip archive with the package PACKAGE; the same every time."""
    modules = {
        module.name: _bare(module.read_bytes(), module.name)
        for module in sorted(resources.files("tespes.runner").iterdir(), key=lambda entry: entry.name)
        if module.name.endswith(".py") and module.name != _ONLY_FOR_TYPES
    }
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as stored:
        for name, source in modules.items():
            stored.writestr(zipfile.ZipInfo(f"{PACKAGE}/{name}"), source)
        for name, source in modules.items():
            stored.writestr(zipfile.ZipInfo(f"{PACKAGE}/{name}c"), _compiled(source, name))
    return base64.b64encode(zlib.compress(archive.getvalue(), 9)).decode()


def _bare(source: bytes, name: str) -> bytes:
    tree = _Bare().visit(ast.parse(source, name))
    return ast.unparse(ast.fix_missing_locations(tree)).encode()


def _compiled(source: bytes, name: str) -> bytes:
    """A `.pyc` whose source is not checked (PEP 552)."""
    code = compile(source, name, "exec", dont_inherit=True, optimize=2)
    unchecked_hash = (1).to_bytes(4, "little")
    return importlib.util.MAGIC_NUMBER + unchecked_hash + importlib.util.source_hash(source) + marshal.dumps(_unlined(code))


class _Bare(ast.NodeTransformer):
    """Leaves out what only people and type checkers read."""

    def visit_Module(self, node: ast.Module) -> ast.AST:
        return self._undocumented(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        return self._undocumented(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        return self._undocumented(node)

    def _undocumented(self, node: ast.Module | ast.ClassDef | ast.FunctionDef) -> ast.AST:
        if ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
        return self.generic_visit(node)

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST | None:
        return None if node.value is None else ast.copy_location(ast.Assign([node.target], node.value), node)

    def visit_If(self, node: ast.If) -> ast.AST | None:
        only_for_types = isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        return None if only_for_types else self.generic_visit(node)


def _unlined(code: types.CodeType) -> types.CodeType:
    """Without the table of lines and columns, in which nobody will look."""
    constants = tuple(_unlined(each) if isinstance(each, types.CodeType) else each for each in code.co_consts)
    return code.replace(co_consts=constants, co_linetable=b"")
