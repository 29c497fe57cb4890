"""The program that runs on the node for one attempt of a task: standard library, Python 3.8+, bundled when it is sent.

`__main__.main(order)` claims the attempt and prints the result; `attempt` says in which order things happen; `callback`
speaks with TESPES (`call` is its HTTP); `inputs` and `outputs` move files (`transfer` by TESPES's routes,
`storage` straight, `download` and `upload` one file of either); `mounts` and `files` map the task's paths to the node;
`executor` runs one command in a `runtime`: `docker` and `podman` (both an `engine`), `apptainer` or `sandbox`; `reaper`
cleans up when the runner itself is killed.
Every job pays for what is imported here: what only some jobs need is imported where it is needed.
"""
