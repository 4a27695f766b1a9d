"""Asks the package index whether it knows vulnerabilities of what is locked. Installs nothing.

It takes requirements files with hashes and needs pip-audit beside it. It ends with 1 where there is a finding or a file
that cannot be read, and with 0 where the index answers no such question: that is said, and fails nobody's check.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys

ACCEPTED: dict[str, str] = {}
"""Findings that are passed over, by their id, each with the reason. An entry goes once a fixed version is locked."""
_UNANSWERED = re.compile(r"^(requests|urllib3)\.exceptions\.|^pip_audit\._service\.|your network may be blocking")


def judge(status: int, report: str, errors: str) -> tuple[int, str]:
    """What pip-audit's end means: the exit status of the check, and one line or more that say why.

    `report` is its JSON, empty where it broke off; `errors` is what it wrote to standard error.
    """
    if not report.strip():
        last = (errors.strip().splitlines() or ["it wrote nothing"])[-1]
        if status and not _UNANSWERED.search(last):
            return 1, f"the locked packages cannot be audited: {last}"
        return 0, f"the locked packages were not audited: no answer from the index ({last.partition(':')[0]})"
    packages = json.loads(report)["dependencies"]
    found = [
        f"{one['name']} {one['version']}: {flaw['id']}, fixed in {', '.join(flaw['fix_versions']) or 'no version yet'}"
        for one in packages
        for flaw in one.get("vulns", [])
    ]
    unknown = [one["name"] for one in packages if "skip_reason" in one]
    said = [*found]
    if found:
        said.append("Lock a fixed version (make lock), or say in ACCEPTED of infra/audit.py why it does no harm here")
    if unknown and len(unknown) == len(packages):
        said.append("the locked packages were not audited: this index knows nothing of vulnerabilities")
    elif unknown:
        said.append(f"{len(unknown)} of {len(packages)} locked packages were not audited: {', '.join(unknown)}")
    elif not found:
        said.append(f"no vulnerability is known of {len(packages)} locked packages")
    return int(bool(found)), "\n".join(said)


def main(files: list[str]) -> int:
    """Audits `files`. Returns the exit status."""
    command = [sys.executable, "-m", "pip_audit", "--require-hashes", "--disable-pip", "--progress-spinner", "off"]
    command += ["--format", "json", "--desc", "off", *(part for one in files for part in ("--requirement", one))]
    command += [part for one in ACCEPTED for part in ("--ignore-vuln", one)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    status, said = judge(done.returncode, done.stdout, done.stderr)
    print(said, file=sys.stderr if status else sys.stdout)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
