"""A container runtime as libcni is one: it reads a list of plugins and runs them one after another.

It keeps the result of each ADD, gives each plugin what the one before said, and runs DEL backwards.
"""

import json
import os
import subprocess
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeAlias

from tests.podman.room import DEBIAN, VENV

Json: TypeAlias = dict[str, Any]

#: Debian's containernetworking-plugins, unpacked by `make test`.
PLUGINS: Final = DEBIAN / "usr" / "lib" / "cni"


class PluginFailed(Exception):
    """What a plugin refused, by its type, and its error."""

    def __init__(self, plugin: str, error: Json) -> None:
        super().__init__(f"{plugin}: {error}")
        self.plugin = plugin
        self.error = error


@dataclass
class Runtime:
    """Runs a list of plugins where `entered` leads; the plugins are in `folders`."""

    conflist: Json
    folders: Sequence[Path]
    entered: Callable[[], AbstractContextManager[None]]
    results: dict[str, Json] = field(default_factory=dict)
    ports: dict[str, Sequence[Json]] = field(default_factory=dict)

    def add(self, container: str, *ports: Json) -> Json:
        """Wire a container up, in the namespace of its name; what fails is deleted again."""
        result: Json | None = None
        self.ports[container] = ports
        try:
            for plugin in self.conflist["plugins"]:
                result = self._run("ADD", plugin, container, result)
        except PluginFailed:
            self.delete(container)
            raise
        assert result is not None
        self.results[container] = result
        return result

    def delete(self, container: str, *, forgotten: bool = False) -> None:
        """Undo an ADD; all that was known of it may be forgotten."""
        result = None if forgotten else self.results.get(container)
        if forgotten:
            self.ports.pop(container, None)
        for plugin in reversed(self.conflist["plugins"]):
            self._run("DEL", plugin, container, result)
        self.results.pop(container, None)

    def check(self, container: str) -> None:
        """Look whether all is as it was made."""
        for plugin in self.conflist["plugins"]:
            self._run("CHECK", plugin, container, self.results[container])

    def forget(self, container: str) -> None:
        """Lose a container, as after a crash: nobody deletes it."""
        del self.results[container]

    def collect(self, plugin: str) -> None:
        """Run one plugin's GC; those of Debian 12 are older than GC."""
        valid = [{"containerID": each, "ifname": "eth0"} for each in self.results]
        config = self._config(self._of_type(plugin), "", None)
        keys = ("cni.dev/valid-attachments", "cni.dev/attachments")
        self._exec("GC", plugin, {**config, **dict.fromkeys(keys, valid)}, {})

    def status(self, plugin: str) -> None:
        """Run one plugin's STATUS."""
        self._exec("STATUS", plugin, self._config(self._of_type(plugin), "", None), {})

    def _of_type(self, plugin: str) -> Json:
        (found,) = (each for each in self.conflist["plugins"] if each["type"] == plugin)
        return dict(found)

    def _config(self, plugin: Json, container: str, result: Json | None) -> Json:
        """Name and version are the list's; capabilities only for who has them."""
        config = {key: value for key, value in plugin.items() if key != "capabilities"}
        config |= {key: self.conflist[key] for key in ("cniVersion", "name")}
        ports = list(self.ports.get(container, ()))
        if ports and plugin.get("capabilities", {}).get("portMappings"):
            config["runtimeConfig"] = {"portMappings": ports}
        return config if result is None else {**config, "prevResult": result}

    def _run(self, verb: str, plugin: Json, container: str, result: Json | None) -> Json | None:
        attached = {
            "CNI_CONTAINERID": container,
            "CNI_NETNS": f"/run/netns/{container}",
            "CNI_IFNAME": "eth0",
            "CNI_ARGS": f"IgnoreUnknown=1;K8S_POD_NAME=pod-{container}",
        }
        return self._exec(verb, plugin["type"], self._config(plugin, container, result), attached)

    def _exec(self, verb: str, plugin: str, config: Json, more: dict[str, str]) -> Json | None:
        path = next(each / plugin for each in self.folders if (each / plugin).exists())
        folders = os.pathsep.join(map(str, self.folders))
        environment = {**os.environ, "CNI_COMMAND": verb, "CNI_PATH": folders, **more}
        with self.entered():
            done = subprocess.run(
                [path],
                input=json.dumps(config).encode(),
                capture_output=True,
                env=environment,
                timeout=60,
                check=False,
            )
        said = json.loads(done.stdout) if done.stdout.strip() else None
        if done.returncode:
            raise PluginFailed(plugin, said or {"msg": done.stderr.decode()})
        assert isinstance(said, dict | None)
        return said


def with_our_plugin(folder: Path) -> list[Path]:
    """Folders of plugins: Debian's, and one with ours under the name that lists know it by."""
    folder.mkdir()
    (folder / "hostports").symlink_to(VENV / "bin" / "hostports-cni")
    return [folder, PLUGINS]
