"""The file of settings, read as systemd reads it (its manual: systemd.exec, EnvironmentFile=)."""

import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wx_mp_svr.desk.envfile import oddities, read

READ = [
    # the file, what systemd gives to the service
    ("A=1\nB=2\n", {"A": "1", "B": "2"}),
    ("A=1\nA=2", {"A": "2"}),
    ("# A=1\n; B=2\n\n   \nC=3", {"C": "3"}),
    ("A = 1\nB=  2  ", {"A": "1", "B": "2"}),
    ("A=1 # no comment\n", {"A": "1 # no comment"}),
    ("A='1 # 2'\nB=\"3 ; 4\"", {"A": "1 # 2", "B": "3 ; 4"}),
    ("A='a'\"b\"c\n", {"A": "abc"}),
    ("A=it's\nB=2", {"A": "it's", "B": "2"}),
    ("A='two\nlines'\nB=2", {"A": "two\nlines", "B": "2"}),
    ("A=one\\\ntwo\nB=2", {"A": "onetwo", "B": "2"}),
    ('A="\\"\\\\\\$\\n"', {"A": '"\\$\\n'}),
    ("A=a\\ b\\ ", {"A": "a b "}),
    ("A=$HOME", {"A": "$HOME"}),
    ("export A=1\nB=2", {"B": "2"}),
    ("\ufeffA=1\nB=2", {"B": "2"}),
    ("A=1\r\nB=2\r\n", {"A": "1", "B": "2"}),
    ("no assignment\nA=", {"A": ""}),
    ("A==b=c", {"A": "=b=c"}),
    ("A=中文，好", {"A": "中文，好"}),
    ("", {}),
]


@pytest.mark.parametrize(("text", "values"), READ, ids=range(len(READ)))
def test_a_file_is_read_as_systemd_reads_it(text, values):
    assert read(text) == values


ODD = [
    ("A=1\n\ufeffB=2", "第 2 行：文件开头有 BOM"),
    ("export A=1", "第 1 行：有 export，systemd 会忽略这一行"),
    ("A B=1", "等号前不是变量名"),
    ("A = 1", "等号两边有空格"),
    ("# x\nA= 1", "第 2 行：等号两边有空格"),
    ("A=1 # key", "行尾的 # 不是注释"),
    ("A=1\r\n", "CRLF"),
    ("A=a b", "sh 会读成别的值"),
    ("A=$b", "sh 会读成别的值"),
    ("A=a;b", "sh 会读成别的值"),
    (r"A=a\\;b", "sh 会读成别的值"),  # the backslash escapes the other one
    (r"A=\';\'", "sh 会读成别的值"),  # these quote nothing
    (r'A="a\"";"b\""', "sh 会读成别的值"),  # the second one does not end it
    ("A=a\\\nb\nB=it's", "第 3 行：引号没有成对"),
]


@pytest.mark.parametrize(("text", "words"), ODD)
def test_what_a_shell_would_read_differently_is_named(text, words):
    [said] = oddities(text)
    assert words in said


@pytest.mark.parametrize("value", ["abc+/==", "'a b'", '"a b"', "中文，好", "'$x'", "'a;b'", ""])
@pytest.mark.parametrize("name", ["A", "a", "_a1", "zA_9"])
def test_what_both_read_alike_is_not(name, value):
    assert list(oddities(f"# c\n{name}={value}\n")) == []


@given(st.text(st.sampled_from("ab '\"\\#;=$"), max_size=8))
def test_whatever_is_not_named_a_real_shell_reads_alike(value):
    """Sourced as demo/deploy/README.md says: set -a; . FILE."""
    text = f"A={value}\n"
    if list(oddities(text)):
        return
    done = subprocess.run(
        ["sh", "-c", f'{text}printf "%s." "$A"'], capture_output=True, encoding="utf-8", timeout=10, env={}
    )
    assert (done.returncode, done.stdout) == (0, read(text)["A"] + ".")
