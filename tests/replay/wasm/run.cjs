// node run.cjs PYODIDE ROOT CHAIN: CPython as WebAssembly, with this machine's files under /machine.
const [, , pyodide, root, chain] = process.argv;
const { loadPyodide } = require(pyodide);

(async () => {
  const env = { PYTHONHASHSEED: process.env.PYTHONHASHSEED, HOME: "/", PYTHONDONTWRITEBYTECODE: "1" };
  const python = await loadPyodide({ env });
  python.FS.mkdir("/machine");
  python.FS.mount(python.FS.filesystems.NODEFS, { root: "/" }, "/machine");
  python.runPython(`
import sys
sys.path[:0] = ["/machine${root}/tests/replay/wasm", "/machine${root}"]
import replay
replay.main("/machine${chain}")
`);
})().catch((error) => {
  console.error(error);
  process.exit(1);
});
