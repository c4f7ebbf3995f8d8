"""fastai's loaders and Learner, its one-cycle schedule and its batch transforms."""

from work import Noted, Work, auroc, network


def main() -> None:
    """Train and validate."""
    work, noted = Work.given(), Noted()
    import torch
    from fastai.vision.all import (
        Callback,
        CrossEntropyLossFlat,
        ImageDataLoaders,
        Learner,
        Normalize,
        Resize,
        ResizeMethod,
        aug_transforms,
    )

    varied = aug_transforms(
        do_flip=False, max_rotate=7.0, min_zoom=1.0, max_zoom=1.29, p_affine=1.0,
        max_lighting=0.0, max_warp=0.0,
    )  # fmt: skip
    data = ImageDataLoaders.from_folder(
        work.folder, train="train", valid="val", bs=work.batch, num_workers=work.workers,
        item_tfms=Resize(work.pixels, method=ResizeMethod.Squish), device=torch.device("cpu"),
        batch_tfms=[*varied, Normalize.from_stats(list(work.mean), list(work.std), cuda=False)],
    )  # fmt: skip

    class Note(Callback):
        """Times epochs and validations, and keeps what is predicted."""

        def before_train(self) -> None:
            """An epoch begins."""
            self.images = 0
            noted.begin()

        def before_batch(self) -> None:
            """A step begins."""
            if self.training:
                noted.step()
                self.images += len(self.yb[0])

        def after_train(self) -> None:
            """An epoch is done."""
            noted.trained(self.images)

        def before_validate(self) -> None:
            """A validation begins."""
            self.found, self.labels = [], []
            noted.begin()

        def after_pred(self) -> None:
            """Keep what is predicted of validation images."""
            if not self.training:
                self.found += self.pred.softmax(1)[:, 1].tolist()
                self.labels += self.yb[0].tolist()

        def after_validate(self) -> None:
            """A validation is done."""
            noted.validated(len(self.labels), auroc(self.labels, self.found))

    learner = Learner(data, network(work), loss_func=CrossEntropyLossFlat(), cbs=[Note()])
    with learner.no_bar(), learner.no_logging():
        learner.fit_one_cycle(work.epochs, work.rate)
    noted.say()


if __name__ == "__main__":
    main()
