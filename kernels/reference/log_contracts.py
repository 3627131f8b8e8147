"""The contracts of training in logarithms by name; compiler/logarithms.py lowers to them.

To add one: log_model.py says.
"""

from collections.abc import Callable
from typing import Any

from anachron.kernels.reference import log_gradients, log_model, log_norms, log_update

LOG_CONTRACTS: dict[str, Callable[..., Any]] = {
    meaning.__name__: meaning
    for meaning in (
        log_model.embed,
        log_model.add,
        log_model.linear,
        log_model.add_bias,
        log_model.relu,
        log_model.attention_weights,
        log_model.attention,
        log_norms.center,
        log_norms.normalize,
        log_norms.scale,
        log_norms.normalize_gradient,
        log_norms.update_gain,
        log_gradients.cross_entropy,
        log_gradients.linear_gradient,
        log_gradients.relu_gradient,
        log_gradients.attention_scores_gradient,
        log_gradients.attention_q_gradient,
        log_gradients.attention_k_gradient,
        log_gradients.attention_v_gradient,
        log_update.update_table,
        log_update.update_rows,
        log_update.update_bias,
        log_update.update_matrix,
    )
}
