cwlVersion: v1.0
class: CommandLineTool
doc: It fails, with a word and an exit code.
baseCommand: [sh, -c, "echo no luck >&2; exit 3"]
inputs: []
outputs: []
