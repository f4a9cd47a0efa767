"""Runs calls one after another, each in a process of its own: fresh state, and limits on CPU time, memory, processes and files.

Speaks JSON lines: {"code": text} in, {"end": how, "out": text} out. `end` is ok, error, time, memory, hang or killed. A call that uses up its
CPU time is ended by the kernel; one that waits without using any is ended here. Whatever a call leaves behind is killed with its group, and
a call ends with its worker.
"""

import ctypes, datetime, functools, io, itertools, json, math, os, random, re, resource, select, signal, string, sys, time

MEMORY, OUTPUT, IDLE = 256 << 20, 400, 1.0
CPU = int(sys.argv[1])
PR_SET_PDEATHSIG = 1
prctl = getattr(ctypes.CDLL(None), "prctl", None)


def limited(code, pipe, worker):
    os.setpgid(0, 0)
    nothing = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(nothing, fd)
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
    if prctl:
        # Nobody else would end a call that waits when its worker has been killed.
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != worker:
        return
    for limit, value in (("AS", MEMORY), ("CPU", CPU), ("CORE", 0), ("FSIZE", 0), ("NPROC", 0)):
        resource.setrlimit(getattr(resource, "RLIMIT_" + limit), (value, value))
    said = io.StringIO()
    sys.stdout = sys.stderr = said
    try:
        exec(compile(code, "<call>", "exec"), {"__name__": "__main__"})
        end, text = "ok", said.getvalue()
    except MemoryError:
        end, text = "memory", "MemoryError"
    except SyntaxError as error:
        end, text = "error", "SyntaxError: " + str(error.msg)
    except BaseException as error:
        end, text = "error", type(error).__name__ + ": " + str(error)
    os.write(pipe, json.dumps({"end": end, "out": text[:OUTPUT]}).encode())


def idle(pid):
    """What a process has used so far, if it waits."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
        return None if fields[0] == "R" else fields[11] + " " + fields[12]
    except OSError:
        return None


def run(code):
    reads, writes = os.pipe()
    worker = os.getpid()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(reads)
            limited(code, writes, worker)
        finally:
            os._exit(0)
    os.close(writes)
    said, hangs, before, since = b"", False, None, time.monotonic()
    while True:
        if select.select([reads], [], [], 0.05)[0]:
            part = os.read(reads, 65536)
            if not part:
                break
            said += part
            continue
        now = idle(pid)
        if now is None or now != before:
            before, since = now, time.monotonic()
        elif time.monotonic() - since > IDLE:
            hangs = True
            break
    for kill, whom in ((os.killpg, pid), (os.kill, pid)):
        try:
            kill(whom, signal.SIGKILL)
        except OSError:
            pass
    status = os.waitpid(pid, 0)[1]
    os.close(reads)
    if hangs:
        return {"end": "hang", "out": "it waits and does nothing"}
    try:
        return json.loads(said)
    except ValueError:
        by = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
        return {"end": "time" if by in (signal.SIGXCPU, signal.SIGKILL) else "killed", "out": f"ended by signal {by}"}


print("ready", flush=True)
for line in sys.stdin:
    print(json.dumps(run(json.loads(line)["code"])), flush=True)
