"""Reads a bill of materials of cargo-sbom, and writes it with the program as what it is of.

cargo-sbom says that it is of the folder that the program was built in, by the user who built it.
"""

import json
import sys


def main():
    bill = json.load(sys.stdin)
    about = bill["metadata"]
    program = next(part for part in about["component"]["components"] if part["name"] == "secretbridge")
    about["component"] = {key: value for key, value in program.items() if value} | {"type": "application"}
    about.pop("authors", None)
    json.dump(bill, sys.stdout, indent=2)


if __name__ == "__main__":
    main()
