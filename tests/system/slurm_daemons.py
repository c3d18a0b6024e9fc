"""A real Slurm of one node on loopback, without systemd; needs root."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

PARTITION = "batch"
_CONFIG = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ctld}
SlurmdPort={slurmd}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
CryptoType=crypto/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_min_interval=100000,batch_sched_delay=1
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
JobCompType=jobcomp/none
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
SlurmdParameters=config_overrides
MailProg=/bin/true
ReturnToService=2
MinJobAge=30
SlurmctldTimeout=30
SlurmdTimeout=30
KillWait=2
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory=16000 State=UNKNOWN
PartitionName={partition} Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


@dataclass
class Slurm:
    """The daemons that run."""

    folder: Path
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def config(self) -> Path:
        return self.folder / "slurm.conf"

    def start(self, name: str) -> None:
        """Start one daemon in the foreground, so that its number is ours."""
        commands = {
            "munged": [
                "munged", "--foreground", "--force",
                f"--key-file={self.folder}/munge/key", f"--socket={self.folder}/munge/socket",
                f"--pid-file={self.folder}/munge/pid", f"--seed-file={self.folder}/munge/seed",
                f"--log-file={self.folder}/munge/log",
            ],
            "slurmctld": ["slurmctld", "-D", "-f", str(self.config)],
            "slurmd": ["slurmd", "-D", "-f", str(self.config), "-N", socket.gethostname()],
        }  # fmt: skip
        out = (self.folder / f"{name}.out").open("ab")
        self.processes[name] = subprocess.Popen(
            commands[name],
            stdout=out,
            stderr=out,
            start_new_session=True,
            env={**os.environ, "SLURM_CONF": str(self.config)},
        )
        out.close()

    def kill(self, name: str) -> None:
        """Kill -9 one daemon."""
        process = self.processes.pop(name)
        process.kill()
        process.wait()

    def resume(self) -> None:
        """Take the node into use again, as an administrator does after a crash."""
        for command in (
            # Asks the node which jobs it really has; else that takes minutes.
            ["scontrol", "reconfigure"],
            ["scontrol", "update", f"NodeName={socket.gethostname()}", "State=RESUME"],
        ):
            subprocess.run(command, capture_output=True, check=False)

    def wait_idle(self, limit_s: float = 60.0) -> None:
        """Wait until the node takes jobs."""
        until = time.monotonic() + limit_s
        said = ""
        while time.monotonic() < until:
            done = subprocess.run(
                ["sinfo", "--noheader", "--format=%T"], capture_output=True, text=True, check=False
            )
            said = done.stdout.strip() or done.stderr.strip()
            if said in ("idle", "mixed", "allocated"):
                return
            time.sleep(0.1)
        logs = "\n".join(
            (self.folder / name).read_text(errors="replace")[-1500:]
            for name in ("slurmctld.log", "slurmd.log", "slurmctld.out", "slurmd.out")
            if (self.folder / name).exists()
        )
        raise AssertionError(f"Slurm did not start: {said}\n{logs}")

    def queue(self) -> list[str]:
        """What waits or runs: one line a job."""
        done = subprocess.run(
            ["squeue", "--noheader", "--array", "--format=%i %T"],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        return done.stdout.splitlines()

    def stop(self) -> None:
        """Cancel all jobs, then stop the daemons, each by its own number."""
        if "slurmctld" in self.processes:
            subprocess.run(["scancel", f"--partition={PARTITION}"], check=False)
            until = time.monotonic() + 15
            with contextlib.suppress(subprocess.CalledProcessError):
                while self.queue() and time.monotonic() < until:
                    time.sleep(0.2)
        for name in ("slurmd", "slurmctld", "munged"):
            process = self.processes.pop(name, None)
            if process is None:
                continue
            process.terminate()
            try:
                process.wait(timeout=15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def absent() -> str:
    """Say why there can be no Slurm here; empty if there can."""
    missing = [c for c in ("slurmctld", "slurmd", "sbatch", "munged") if shutil.which(c) is None]
    if missing:
        return f"{', '.join(missing)} absent (apt-get install slurmctld slurmd slurm-client munge)"
    return "" if os.geteuid() == 0 else "slurmd needs root"


@contextlib.contextmanager
def running_slurm(folder: Path, cpus: int | None = None) -> Iterator[Slurm]:
    """Start it in a folder; stop it at the end."""
    for name in ("munge", "state", "spool"):
        (folder / name).mkdir(parents=True)
    key = folder / "munge" / "key"
    key.write_bytes(secrets.token_bytes(128))
    key.chmod(0o400)
    (folder / "munge").chmod(0o755)
    slurm = Slurm(folder)
    slurm.config.write_text(
        _CONFIG.format(
            host=socket.gethostname(),
            ctld=free_port(),
            slurmd=free_port(),
            folder=folder,
            cpus=cpus or os.cpu_count(),
            partition=PARTITION,
        )
    )
    before = os.environ.get("SLURM_CONF")
    os.environ["SLURM_CONF"] = str(slurm.config)
    try:
        slurm.start("munged")
        until = time.monotonic() + 10
        while not (folder / "munge" / "socket").exists() and time.monotonic() < until:
            time.sleep(0.05)
        slurm.start("slurmctld")
        slurm.start("slurmd")
        slurm.wait_idle()
        yield slurm
    finally:
        slurm.stop()
        if before is None:
            del os.environ["SLURM_CONF"]
        else:
            os.environ["SLURM_CONF"] = before


def free_port() -> int:
    """A port of loopback that nobody uses now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
