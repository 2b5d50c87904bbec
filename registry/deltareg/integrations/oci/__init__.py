"""OCI artifacts: versions written as ModelPack or as an image, and read back.

After the OCI image and distribution specifications 1.1 and the ModelPack specification 0.1.
"""
