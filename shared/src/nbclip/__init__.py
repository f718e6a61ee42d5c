"""What travels between the NB-CLIP knowledge-graph service and its trainer, and what any training loop needs of it.

`client` asks a service, `losses` compares features with its answers (the extras `client` and `torch`). `ids` names images,
concepts and snapshots; `schemas` is the JSON of the REST API; `codec` and `vectors` turn matrices and image vectors into bytes
and back; `targets` is the target builder that service and trainer share; `errors` is the root of both programs' error trees.
"""
