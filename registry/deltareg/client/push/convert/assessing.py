"""What a folder is to the registry, or the refusal that push would give."""

from deltareg.client.bases.bases import KnownBase
from deltareg.client.folders.folder import Folder
from deltareg.delta.delta_manifest import Assessment, assess
from deltareg.errors import Refused


def assessed(folder: Folder, known: KnownBase) -> Assessment:
    """Hold a folder against a base.

    Raises:
        Refused: With everything that is wrong.
    """
    found = assess(folder.files, folder.tensors, known.view)
    if found.errors:
        raise Refused(found.account.problems)
    return found
