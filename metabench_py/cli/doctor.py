"""``metabench-py doctor``."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer

_MARKS = {
    "ok": ("ok  ", typer.colors.GREEN),
    "warning": ("warn", typer.colors.YELLOW),
    "broken": ("FAIL", typer.colors.RED),
}
_WIDTH = 15


def doctor_command(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check Python, R, the embedded bundle and lm-eval; say what to do about what is amiss.

    The exit code is 1 only if reconstructing scores does not work; it needs no R.
    """
    from metabench_py.doctor import examine, is_sound

    findings = []
    for finding in examine():
        findings.append(finding)
        if not as_json:
            mark, colour = _MARKS[finding.state]
            cure = f" -> {finding.cure}" if finding.cure else ""
            typer.echo(
                f"{typer.style(mark, fg=colour)}  {finding.what:<{_WIDTH}}  {finding.detail}{cure}"
            )
    sound = is_sound(findings)
    if as_json:
        report = {"ok": sound, "checks": [asdict(finding) for finding in findings]}
        typer.echo(json.dumps(report, indent=2, ensure_ascii=False))
    else:
        warnings = sum(finding.state == "warning" for finding in findings)
        broken = sum(finding.state == "broken" for finding in findings)
        typer.echo("")
        if broken:
            typer.echo(f"Reconstructing does not work: mend what is marked FAIL ({broken}).")
        else:
            more = f"; {warnings} of {len(findings)} lines are worth a look" if warnings else ""
            typer.echo(f"Reconstructing works{more}.")
    if not sound:
        raise typer.Exit(1)
