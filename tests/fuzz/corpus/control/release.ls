release.ls
{"model": "ocr"}
