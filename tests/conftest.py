import hypothesis
import jax


jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")

# Compiling takes seconds, and how many depends on the machine.
hypothesis.settings.register_profile(
    "jax", deadline=None, max_examples=25, derandomize=True
)
hypothesis.settings.load_profile("jax")
