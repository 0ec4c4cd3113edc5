using System;
using System.Collections;
using System.Collections.Specialized;
using System.IO;
using System.Management.Automation;
using System.Text.Json;

namespace SecretBridge;

/// <summary>The channel to the core: lines out, messages in, and asks.</summary>
public static class Channel
{
    private static Wire? s_wire;
    private static long s_asks;

    /// <summary>Answers asks in place of the core, for tests.</summary>
    public static Func<IDictionary, object?>? AskTo { get; set; }

    /// <summary>Takes log lines in place of the core, for tests.</summary>
    public static Action<string, string>? LogTo { get; set; }

    /// <summary>The open wire.</summary>
    public static Wire Wire => s_wire ?? throw new InvalidOperationException("the channel is not open");

    /// <summary>Opens it; asks are counted from one.</summary>
    public static void Open(Stream source, Stream sink)
    {
        s_wire = new Wire(source, sink);
        s_asks = 0;
    }

    /// <summary>Writes one line: an object with what is written into it.</summary>
    public static void Send(Action<Utf8JsonWriter> members) => Wire.WriteLine(writer =>
    {
        writer.WriteStartObject();
        members(writer);
        writer.WriteEndObject();
    });

    /// <summary>Writes a plain object as one line.</summary>
    public static void SendPlain(IDictionary line) => Wire.WriteLine(writer => PlainJson.Write(writer, line));

    /// <summary>The next line as a plain object; null at the end of the stream. Throws where it is not JSON.</summary>
    public static OrderedDictionary? Receive()
    {
        if (Wire.ReadLine() is not ReadOnlyMemory<byte> line)
        {
            return null;
        }
        try
        {
            using JsonDocument document = JsonDocument.Parse(line);
            return PlainJson.Read(document.RootElement) as OrderedDictionary ?? throw new InvalidDataException("a line is no object");
        }
        finally
        {
            Wire.Release();
        }
    }

    /// <summary>
    /// Asks the core and waits; calls that come before the answer are carried out at once. Gives the answer's `ok` as a plain
    /// object, or throws its fault, which passes through <see cref="Faults.Of(ErrorRecord, System.Collections.Generic.IEnumerable{string}?)"/> whole.
    /// </summary>
    public static object? Ask(IDictionary what)
    {
        if (AskTo is not null)
        {
            return PlainJson.Bare(AskTo(what));
        }
        long seq = ++s_asks;
        Send(writer =>
        {
            writer.WriteStartObject("ask");
            writer.WriteNumber("seq", seq);
            writer.WritePropertyName("what");
            PlainJson.Write(writer, what);
            writer.WriteEndObject();
        });
        while (true)
        {
            OrderedDictionary? message = Receive();
            if (message is null)
            {
                // The core is gone, and with it whoever waits for this block.
                Environment.Exit(0);
            }
            if (message["call"] is OrderedDictionary call)
            {
                Worker.Carry(call);
                continue;
            }
            // Another block's answer must never be taken for this one's.
            if (message["answer"] is not OrderedDictionary answer || Convert.ToInt64(answer["seq"]) != seq)
            {
                Environment.Exit(70);
                throw new InvalidOperationException();
            }
            if (answer["fault"] is OrderedDictionary fault)
            {
                throw new BridgeException(Faults.Record(fault));
            }
            return answer["ok"];
        }
    }
}
