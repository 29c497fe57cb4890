cwlVersion: v1.0
class: Workflow
doc: Two steps, each with a file in and a file out.
inputs:
  words: File
outputs:
  sum:
    type: File
    outputSource: count/sum
steps:
  shout:
    in: {words: words}
    out: [shouted]
    run:
      class: CommandLineTool
      baseCommand: [tr, a-z, A-Z]
      stdin: $(inputs.words.path)
      stdout: shouted.txt
      inputs:
        words: File
      outputs:
        shouted: stdout
  count:
    in: {shouted: shout/shouted}
    out: [sum]
    run:
      class: CommandLineTool
      baseCommand: md5sum
      stdin: $(inputs.shouted.path)
      stdout: sum.txt
      inputs:
        shouted: File
      outputs:
        sum: stdout
