"""The lines in which FTP servers list directories."""

import pytest

from tespes.storage.ftp.lists import Line, read

LISTS = {
    "vsftpd": ("-rw-r--r--    1 0        0               5 Nov 22 18:00 name", Line("name", "file", 5)),
    "vsftpd, last year": ("drwxr-xr-x    2 ftp      ftp          4096 Nov 22  2020 name", Line("name", "directory")),
    "spaces": ("-rw-r--r--    1 0        0               5 Nov 22 18:00  a  b ", Line(" a  b ", "file", 5)),
    "a date in the name": ("-rw-r--r-- 1 0 0 5 Nov 22 18:00 7 Jan 01 10:00 x", Line("7 Jan 01 10:00 x", "file", 5)),
    "a group with spaces": ("-rw-r--r-- 1 ada domain users 5 Nov 22 18:00 x", Line("x", "file", 5)),
    "no group": ("-rw-r--r-- 1 ada 5 Nov 22 18:00 x", Line("x", "file", 5)),
    "an access list": ("-rw-r--r--+ 1 0 0 5 Nov 22 18:00 x", Line("x", "file", 5)),
    "day before month": ("-rw-r--r-- 1 0 0 5 22 Nov 18:00 x", Line("x", "file", 5)),
    "dates with digits": ("-rw-r--r-- 1 0 0 5 2020-11-22 18:00 x", Line("x", "file", 5)),
    "a link": ("lrwxrwxrwx    1 0        0               6 Nov 22 18:00 x -> target", Line("x", "link")),
    "a link with arrows": ("lrwxrwxrwx 1 0 0 6 Nov 22 18:00 a -> b -> a -> b", Line("a -> b", "link")),
    "a link whose size is no size": ("lrwxrwxrwx 1 0 0 0 Nov 22 18:00 x -> target", Line("x", "link")),
    "a device": ("brw-r--r--    1 0        0               0 Nov 22 18:00 sda", Line("sda", "other")),
    "Windows": ("11-22-26  06:00PM                12345 a name", Line("a name", "file", 12345)),
    "Windows, a directory": ("11-22-2026  06:00PM       <DIR>          a name", Line("a name", "directory")),
    "a total": ("total 12", None),
}
FACTS = {
    "pyftpdlib": ("type=file;size=5;perm=r;modify=20261122180000;unique=1; name", Line("name", "file", 5)),
    "capitals": ("Type=FILE;Size=5; name", Line("name", "file", 5)),
    "no size": ("type=file; name", Line("name", "file")),
    "spaces": ("type=file;size=5;  a  b ", Line(" a  b ", "file", 5)),
    "a directory": ("type=dir;sizd=4096; name", Line("name", "directory")),
    "itself": ("type=cdir; .", None),
    "the one above": ("type=pdir; ..", None),
    "a link": ("type=OS.unix=slink:/a/b; name", Line("name", "link")),
    "another link": ("type=OS.unix=symlink; name", Line("name", "link")),
    "a device": ("type=OS.unix=blkdev; name", Line("name", "other")),
}


@pytest.mark.parametrize(("line", "meaning"), LISTS.values(), ids=LISTS)
def test_lines_of_list(line: str, meaning: Line | None) -> None:
    """Whatever stands before the size, and with the name as it is."""
    assert read(line.encode(), "LIST") == meaning


@pytest.mark.parametrize(("line", "meaning"), FACTS.values(), ids=FACTS)
def test_lines_of_mlsd(line: str, meaning: Line | None) -> None:
    """RFC 3659, 7.2: facts, one space, the name as it is."""
    assert read(line.encode(), "MLSD") == meaning


@pytest.mark.parametrize("line", ["name", "<html>", "-rw-r--r--"])
def test_a_line_that_cannot_be_read_is_not_passed_over(line: str) -> None:
    """It may stand for a file."""
    for form in ("LIST", "MLSD"):
        with pytest.raises(ValueError, match=r".+"):
            read(line.encode(), form)
