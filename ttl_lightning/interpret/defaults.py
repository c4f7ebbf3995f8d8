"""Numbers that the analyses take unless told otherwise; apart from them, so that help is quick."""

# Share of each layer's variance that SVCCA's directions hold (Raghu et al. 2017).
VARIANCE_KEPT = 0.99
# The highest round number that cuts the paper's ResNet-50 where the paper does (its excess is 0.51
# at the end of block 3, 0.15 at that of block 4); benchmarks/README.md has it on other data.
THRESHOLD = 0.5
# Splits by which a cutoff may be chosen; what is tested on never is.
CHOOSING = ("train", "val")
