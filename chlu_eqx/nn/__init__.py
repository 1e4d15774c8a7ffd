from .chlu import CHLU as CHLU
