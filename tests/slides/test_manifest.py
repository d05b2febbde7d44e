from __future__ import annotations

from pathlib import Path

import pytest

from ats_cli.errors import SlideError
from ats_cli.slides import ManifestRow, read_manifest


def manifest(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "m.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_rows(tmp_path: Path) -> None:
    path = manifest(tmp_path, '\ufeffslide,MPP,label,split\na.svs,0.25,tumour,train\n\n"b, c.svs",,,\n/x/d.svs, 0.5\n')
    assert list(read_manifest(path).rows) == [
        ManifestRow(tmp_path / "a.svs", 0.25, "tumour", "train"),
        ManifestRow(tmp_path / "b, c.svs"),
        ManifestRow(Path("/x/d.svs"), 0.5),
    ]
    assert read_manifest(manifest(tmp_path, "path\na.svs\n")).rows == (ManifestRow(tmp_path / "a.svs"),)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no rows"),
        ("slide\n", "no rows"),
        ("label\nx\n", "row 1 has no column slide"),
        ("Export of May,\n\nslide,label\na.svs,x\n", "row 3 has the names of the columns, but row 1 must"),
        ('"slide,label"\n"a.svs,x"\n', "row 1 is one cell, 'slide,label'"),
        ("slide|label\na.svs|x\n", "row 1 is one cell, 'slide|label'"),
        ("slide,label,train,Test\na.svs,x,1,0\n", "row 1 has the columns train, Test, which are not read"),
        ("slide,path\na,b\n", "row 1 has both"),
        ("slide,slide\na,b\n", "row 1 has the column slide twice"),
        ("slide,lable\na,b\n", "row 1 has an unknown column 'lable'"),
        ("slide,mpp\na.svs,fine\n", "row 2 has mpp 'fine'"),
        ("slide,mpp\na.svs,0.25\nb.svs,-1\n", "row 3 has mpp '-1'"),
        ("slide,mpp\na.svs,inf\n", "row 2 has mpp 'inf', which is not a number"),
        ("slide,mpp\na.svs,0_25\n", "row 2 has mpp '0_25', which is not a number"),
        ("slide,weight\na.svs,1_0\n", "row 2 has weight '1_0', which is not a number"),
        ('slide,weight\na.svs,"1,250"\n', "row 2 has weight '1,250', which may be 1.25 or 1250"),
        ("slide\na.svs\n./a.svs\n", "row 3 names ./a.svs again, as row 2"),
        ("slide,label\n,x\n", "row 2 names no slide"),
        ("slide,label\na,b,c\n", "row 2 has 3 cells under 2 columns"),
    ],
)
def test_faults_name_the_file_and_the_row(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(SlideError) as caught:
        read_manifest(manifest(tmp_path, text))
    assert str(caught.value).startswith("m.csv: ") and says in str(caught.value)


def test_a_missing_or_binary_manifest(tmp_path: Path) -> None:
    with pytest.raises(SlideError, match=r"^no\.csv: no such file"):
        read_manifest(tmp_path / "no.csv")
    (tmp_path / "b.csv").write_bytes(b"\xff\xd8\xff\xe0JFIF")
    with pytest.raises(SlideError, match=r"^b\.csv: row 1 is not in UTF-8"):
        read_manifest(tmp_path / "b.csv")
