"""Settings of launchers: what each kind takes, and what is refused."""

from pathlib import Path

import pytest

from dama.config.config import load_config
from dama.errors import InvalidDefinitionError
from dama.launchers.settings import find_launcher


@pytest.fixture
def read(tmp_path):
    """Reads a launcher of a project."""

    def read(text: str):
        (tmp_path / "dama.toml").write_text(f"[launchers.there]\n{text}\n")
        return find_launcher(load_config(cwd=tmp_path, environ={}), "there")

    return read


def test_paths_of_an_image_are_those_of_its_containers(read, tmp_path):
    found = read(
        'kind = "kubernetes"\nimage = "etl:1"\nproject = "/srv/etl"\ntemplate = "pod.yaml"'
    )

    assert (found.image, found.dama, found.secrets) == ("etl:1", "dama", ("dama",))
    assert (found.project, found.files) == (Path("/srv/etl"), Path("/tmp/dama"))  # noqa: S108
    assert found.template == tmp_path / "pod.yaml"


def test_nodes_have_the_paths_of_this_machine(read, tmp_path):
    found = read('kind = "slurm"')
    assert found.project == tmp_path
    assert Path(found.dama).is_absolute()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('kind = "kubernets"', "kubernetes"),
        ('kind = "kubernetes"', "image"),
        ('kind = "kubernetes"\nimage = ""', "a string that is not empty"),
        ('kind = "kubernetes"\nimage = "x"\noptions = ["-v"]', 'kind = "slurm" or "command"'),
        ('kind = "kubernetes"\nimage = "x"\nenv_file = "x"', 'kind = "slurm" or "command"'),
        ('kind = "kubernetes"\nimage = "x"\nsecrets = "dama"', "a list"),
        ('kind = "slurm"\nimage = "x"', 'belongs to kind = "kubernetes"'),
        ('kind = "slurm"\nsubmit = ["qsub"]', 'belongs to kind = "command"'),
        (
            'kind = "command"\nsubmit = ["a"]\nlist = ["b"]\ncancel = ["c"]\nserver = "x"',
            "kubernetes",
        ),
    ],
)
def test_what_does_not_belong_is_refused(read, text, said):
    with pytest.raises(InvalidDefinitionError) as refused:
        read(text)
    assert said in str(refused.value)
