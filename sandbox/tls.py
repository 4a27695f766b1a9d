"""The throw-away certificate authority that lets the SDKs speak TLS to the sandbox."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import certifi
import trustme

from sandbox.guard import own_file, own_folder


@dataclass(frozen=True)
class Certificates:
    """PEM files: the bundle a client trusts, and the chain and key a server on loopback presents."""

    ca_bundle: Path
    server_cert: Path
    server_key: Path


def certificates(folder: Path, *, public: bool = True) -> Certificates:
    """The sandbox's certificates, made in `folder` where it has none yet.

    The bundle holds the `public` authorities too, so that a shell with `REQUESTS_CA_BUNDLE` set to it still reaches the
    rest of the world. Clients read all of them, 30 ms long, with each new connection.
    """
    made = Certificates(folder / "ca-bundle.pem", folder / "server.pem", folder / "server.key")
    if all(path.exists() for path in (made.ca_bundle, made.server_cert, made.server_key)):
        return made
    own_folder(folder)
    authority = trustme.CA(organization_name="Gallerist sandbox")
    server = authority.issue_cert("127.0.0.1", "localhost", "::1")
    server.private_key_pem.write_to_path(str(own_file(made.server_key)))
    made.server_cert.unlink(missing_ok=True)
    own_file(made.server_cert)
    for part in server.cert_chain_pems:
        part.write_to_path(str(made.server_cert), append=True)
    made.ca_bundle.unlink(missing_ok=True)
    own_file(made.ca_bundle)
    if public:
        shutil.copyfile(certifi.where(), made.ca_bundle)
    authority.cert_pem.write_to_path(str(made.ca_bundle), append=True)
    return made
