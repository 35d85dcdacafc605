"""Opens this folder with `trust_remote_code=True`: the model's code is the installed package's, none of it is here."""

try:
    from inn.hf import INNConfig, INNForCausalLM, INNModel
except ImportError as error:
    raise ImportError("this model needs the package inn-torch: pip install 'inn-torch[hf]'") from error

__all__ = ["INNConfig", "INNForCausalLM", "INNModel"]
