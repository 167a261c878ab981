"""The architectures. A new one is one class and one YAML file in conf/model (or in your own --config-dir).

A module here imports torch (and torchvision) alone: collation copies it into the zoo as model.py.
"""
