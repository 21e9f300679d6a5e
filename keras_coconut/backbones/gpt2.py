"""GPT-2, OPT and GPT-NeoX: layer norms, biases, one feed-forward."""

from keras import ops

from keras_coconut.backbones.decoder import Block, Decoder, rotated


class GPT2Block(Block):
    """A layer of GPT-2 and of OPT."""

    def __init__(self, backbone, layer):
        super().__init__(backbone, layer)
        self.attention = layer._self_attention_layer
        self.scale = (backbone.hidden_dim // backbone.num_heads) ** -0.5
        if backbone.dropout:
            self.weights_dropout = self.attention._dropout_layer

    def project(self, x, positions):
        x, attention = self.layer._self_attention_layer_norm(x), self.attention
        return (
            attention.query_dense(x),
            attention.key_dense(x),
            attention.value_dense(x),
        )

    def finish(self, x, attended, drop):
        layer = self.layer
        attended = self.attention.output_dense(attended)
        x = x + drop(layer._self_attention_dropout, attended)
        y = layer._feedforward_layer_norm(x)
        y = layer._feedforward_intermediate_dense(y)
        y = layer._feedforward_output_dense(y)
        return x + drop(layer._feedforward_dropout, y)


class GPT2Decoder(Decoder):
    """GPT-2: learned positions, dropout on what enters."""

    block_cls = GPT2Block

    def locate(self, x, positions, drop):
        backbone = self.backbone
        # The slice makes the gradient of the table dense. That of a lookup
        # alone is sparse on TensorFlow, with an index for every row of the
        # batch, and Keras optimizers apply an index that repeats only once.
        table = ops.convert_to_tensor(
            backbone.position_embedding.position_embeddings
        )
        table = ops.slice(table, (0, 0), table.shape)
        added = ops.take(ops.cast(table, x.dtype), positions, axis=0)
        x = backbone.embeddings_add((x, added))
        return drop(backbone.embeddings_dropout, x)


class OPTDecoder(Decoder):
    """OPT: learned positions, no dropout on what enters."""

    block_cls = GPT2Block

    def locate(self, x, positions, drop):
        del drop
        table = ops.convert_to_tensor(
            self.backbone.embeddings.position_embedding.position_embeddings
        )
        # As for GPT-2.
        table = ops.slice(table, (0, 0), table.shape)
        return x + ops.take(ops.cast(table, x.dtype), positions, axis=0)


class GPTNeoXBlock(Block):
    """A layer of GPT-NeoX (Pythia), with one dense for all projections."""

    def __init__(self, backbone, layer):
        super().__init__(backbone, layer)
        self.attention = layer._self_attention_layer
        self.scale = self.attention._inv_norm_factor
        if backbone.dropout:
            self.weights_dropout = self.attention._attn_dropout_layer

    def project(self, x, positions):
        attention = self.attention
        x = attention._qkv_dense(self.layer._self_attention_layer_norm(x))
        query, key, value = ops.split(x, 3, axis=-1)

        def rotate(x):
            # Only the first dimensions of a head rotate. Not `ops.split`: on
            # PyTorch it asks the device where to cut.
            size = attention.rotary_dim
            turned = rotated(
                attention.rotary_embedding_layer, x[..., :size], positions
            )
            return ops.concatenate([turned, x[..., size:]], axis=-1)

        return rotate(query), rotate(key), value

    def finish(self, x, attended, drop):
        layer = self.layer
        attended = ops.reshape(attended, (*ops.shape(attended)[:2], -1))
        attended = self.attention._output_dense(attended)
        attended = drop(layer._self_attention_dropout, attended)
        # In parallel: both halves start from the input of the layer.
        y = layer._feedforward_layer_norm(x)
        y = layer._feedforward_intermediate_dense(y)
        return layer._feedforward_output_dense(y) + attended + x


class GPTNeoXDecoder(Decoder):
    """GPT-NeoX: positions by rotation."""

    block_cls = GPTNeoXBlock

    def locate(self, x, positions, drop):
        del positions
        return drop(self.backbone.embeddings_dropout, x)
