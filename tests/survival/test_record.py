"""The record's file is deleted under a daemon: it says so, and nothing is lost by its mend."""

from pathlib import Path

from tests.e2e.site import host_probe, site


def test_who_deletes_the_record_is_told_at_the_next_change_and_can_put_it_back(
    tmp_path: Path,
) -> None:
    with site(tmp_path) as made:
        made.client.create_network("nat")
        made.add_container("nat1")
        made.publish("nat1", "8080:80")
        for each in (tmp_path / "state").iterdir():
            each.unlink()
        for refused in (("publish", "nat1", "8081:81"), ("network", "rm", "--force", "nat")):
            said = made.daemon.command(*refused)
            assert said.returncode != 0
            assert "state.sqlite3 was deleted" in said.stderr
        assert made.answers(host_probe("remote", 8080), host_probe("remote", 8081)) == [
            *("nat1", "refused")
        ]
        kept = tmp_path / "state" / "state.sqlite3.kept"
        assert str(kept) in said.stderr
        kept.rename(kept.with_name("state.sqlite3"))
        made.daemon.stop()
        made.daemon.start()
        made.publish("nat1", "8081:81")
        assert made.answers(*(host_probe("remote", port) for port in (8080, 8081))) == ["nat1"] * 2
