"""What the tests ask of a bucket, asked of Ceph's gateway: another server than the one of every day."""

import os
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.store.ceph import ceph_started

ROOT = Path(__file__).parents[2]
ASKED = (
    "tests/store/test_s3.py",
    "tests/store/test_proofs.py",
    "tests/store/test_backup_in_a_bucket.py",
    "tests/conformance/test_blob_store.py",
    "tests/hub/test_ways.py",
)


@pytest.mark.soak
def test_all_that_is_asked_of_a_bucket_holds_of_ceph(tmp_path):
    with ceph_started(tmp_path) as ceph:
        address = ceph.url.removeprefix("http://")
        url = f"http://{quote(ceph.access_key_id)}:{quote(ceph.secret_access_key)}@{address}"
        command = [sys.executable, "-m", "pytest", "-q", "-m", "soak or not soak", "-p", "no:cacheprovider", *ASKED]
        environ = os.environ | {"DELTAREG_TEST_S3_URL": url}
        done = subprocess.run(command, check=False, cwd=ROOT, env=environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed, done.stdout[-1000:]
    assert int(passed[1]) > 300, done.stdout[-1000:]
