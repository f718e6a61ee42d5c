"""What travels between the NB-CLIP knowledge-graph service and its trainer, and nothing else.

`ids` names images, concepts and snapshots; `schemas` is the JSON of the REST API; `codec` turns a matrix into bytes and
back; `targets` is the target builder that service and trainer share; `errors` is the root of both programs' error trees.
"""
