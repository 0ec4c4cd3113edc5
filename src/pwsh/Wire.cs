using System;
using System.Buffers;
using System.IO;
using System.Text.Encodings.Web;
using System.Text.Json;

namespace SecretBridge;

/// <summary>Lines of JSON over two streams. What was read or written is wiped from the buffers.</summary>
public sealed class Wire
{
    /// <summary>The longest line that is sent or taken, in bytes. Tests make it smaller.</summary>
    public static int MaxLine { get; set; } = 64 << 20;

    private const int BlockSize = 64 << 10;

    /// <summary>One large value must not cost its size for the rest of the worker's life.</summary>
    private const int KeptSize = 1 << 20;

    private static readonly JsonWriterOptions Options = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    private readonly Stream _source;
    private readonly Stream _sink;
    private ArrayBufferWriter<byte> _memory = new(BlockSize);
    private Utf8JsonWriter _writer;

    // Begin..Filled is what was read and not yet released; no line feed lies before Scanned.
    private byte[] _buffer = new byte[BlockSize];
    private int _begin;
    private int _scanned;
    private int _filled;
    private int _next;

    /// <summary>Takes both streams; their owner closes them.</summary>
    public Wire(Stream source, Stream sink)
    {
        _source = source;
        _sink = sink;
        _writer = new Utf8JsonWriter(_memory, Options);
    }

    /// <summary>What is read and not released, for tests of the wiping.</summary>
    public ReadOnlyMemory<byte> Buffer => _buffer;

    /// <summary>
    /// The next line without its line feed, valid until <see cref="Release"/>; null at the end of the stream. A
    /// half line at the end is dropped: its writer died.
    /// </summary>
    public ReadOnlyMemory<byte>? ReadLine()
    {
        while (true)
        {
            int at = Array.IndexOf(_buffer, (byte)'\n', _scanned, _filled - _scanned);
            if (at >= 0)
            {
                _next = at + 1;
                return new ReadOnlyMemory<byte>(_buffer, _begin, at - _begin);
            }
            _scanned = _filled;
            if (_filled == _buffer.Length)
            {
                MakeRoom();
            }
            int count = _source.Read(_buffer, _filled, _buffer.Length - _filled);
            if (count == 0)
            {
                return null;
            }
            _filled += count;
        }
    }

    /// <summary>Wipes the line that was read last.</summary>
    public void Release()
    {
        Array.Clear(_buffer, _begin, _next - _begin);
        _begin = _scanned = _next;
        if (_begin == _filled)
        {
            _begin = _scanned = _filled = _next = 0;
            if (_buffer.Length > KeptSize)
            {
                _buffer = new byte[BlockSize];
            }
        }
    }

    /// <summary>Moves what is left to the front, or doubles the buffer.</summary>
    private void MakeRoom()
    {
        int length = _filled - _begin;
        if (length >= MaxLine)
        {
            throw new IOException("a line is longer than the protocol allows");
        }
        byte[] larger = _begin == 0 ? new byte[_buffer.Length * 2] : _buffer;
        System.Buffer.BlockCopy(_buffer, _begin, larger, 0, length);
        Array.Clear(_buffer, larger == _buffer ? length : 0, larger == _buffer ? _buffer.Length - length : length);
        _buffer = larger;
        _scanned -= _begin;
        _begin = 0;
        _filled = length;
    }

    /// <summary>Writes one line in one piece.</summary>
    public void WriteLine(Action<Utf8JsonWriter> content)
    {
        try
        {
            _writer.Reset(_memory);
            content(_writer);
            _writer.Flush();
            if (_memory.WrittenCount >= MaxLine)
            {
                throw new BridgeException("ValueNotRepresentable", "the value is longer than a line of the protocol may be");
            }
            _memory.GetSpan(1)[0] = (byte)'\n';
            _memory.Advance(1);
            _sink.Write(_memory.WrittenSpan);
            _sink.Flush();
        }
        finally
        {
            bool large = _memory.Capacity > KeptSize;
            _memory.Clear();
            if (large)
            {
                _memory = new ArrayBufferWriter<byte>(BlockSize);
                _writer = new Utf8JsonWriter(_memory, Options);
            }
        }
    }
}
