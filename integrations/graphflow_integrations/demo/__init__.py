"""The demo: documents in, a reviewed brief out, on one machine, with no key and no network.

    graphflow demo [FILE ...]

`graph` is the workflow and the file to read first; `documents` cuts texts into sections, `journal`
writes down what was done, `progress`, `terminal` and `review` face the person, and `command` joins
them.
"""
