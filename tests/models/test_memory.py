"""What is left in memory of a model that is gone."""

import gc

import keras
import pytest
import tiny

import keras_coconut


@pytest.mark.skipif(
    keras.config.backend() != "tensorflow", reason="of TensorFlow's graphs"
)
def test_no_graph_is_left_of_a_model_that_is_gone():
    from tensorflow.python.framework.func_graph import FuncGraph

    def graphs():
        keras.utils.clear_session(free_memory=True)
        gc.collect()
        return sum(isinstance(each, FuncGraph) for each in gc.get_objects())

    def use_a_model():
        model = tiny.compiled(tiny.text_model(layers=1))
        dataset = keras_coconut.CurriculumDataset(
            tiny.problems(4),
            model.preprocessor,
            keras_coconut.Curriculum(1, extra_stage=False),
            batch_size=4,
        )
        scheduler = keras_coconut.CurriculumScheduler(dataset)
        model.fit(dataset, epochs=2, callbacks=[scheduler], verbose=0)
        model.evaluate(dataset, verbose=0)
        model.predict(dataset[0][0], verbose=0)
        model.think("start 1, +1")
        model.generate("start 1, +1", max_length=3)

    use_a_model()
    before = graphs()
    use_a_model()
    assert graphs() <= before
