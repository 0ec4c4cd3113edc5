using System;
using System.Collections;
using System.Management.Automation;
using System.Text.Json;

namespace SecretBridge.Pode;

/// <summary>One request of a script's route: begun here, its block run by the worker's loop, ended here.</summary>
public static class Route
{
    private static Response? s_response;

    /// <summary>Runs a block below the scope of people's code; null where script mode is not loaded.</summary>
    public static ScriptBlock? Runner { get; set; }

    /// <summary>Sets a variable of the global scope.</summary>
    public static SessionState? Session { get; set; }

    /// <summary>The block to run.</summary>
    public static Block? Block { get; private set; }

    /// <summary>Its arguments.</summary>
    public static object?[] Arguments { get; private set; } = [];

    /// <summary>Takes a request in; true where its block is to run.</summary>
    internal static bool Begin(IDictionary call)
    {
        Locks.Clear();
        Redaction.Seen.Clear();
        s_response = null;
        IDictionary arrived = (IDictionary)PlainJson.Bare(call["event"])!;
        try
        {
            SetEvent(WebEvent.Make(arrived));
        }
        catch (BadBodyException bad)
        {
            Log.Write("information", $"{arrived["method"]} {arrived["path"]}: {bad.Message}");
            s_response = Response.BadRequest();
            return false;
        }
        try
        {
            Block = Blocks.Get(Convert.ToInt64(call["block"]));
            Arguments = Portable.UntagList(call["arguments"] as IEnumerable);
            return true;
        }
        catch (Exception exception) when (exception is not FlowControlException)
        {
            Failed(Faults.RecordOf(exception));
            return false;
        }
    }

    /// <summary>The block threw.</summary>
    public static void Failed(ErrorRecord record) => s_response = Response.Failed(record, WebEvent.Present);

    /// <summary>Writes the answer.</summary>
    internal static void Write(Utf8JsonWriter writer)
    {
        writer.WriteStartObject();
        writer.WritePropertyName("response");
        s_response!.Write(writer);
        writer.WriteEndObject();
    }

    /// <summary>The answer as a plain object.</summary>
    internal static object? Plain()
    {
        System.Buffers.ArrayBufferWriter<byte> memory = new();
        using (Utf8JsonWriter writer = new(memory))
        {
            Write(writer);
        }
        using JsonDocument document = JsonDocument.Parse(memory.WrittenMemory);
        return PlainJson.Read(document.RootElement);
    }

    /// <summary>Puts the answer together, and forgets the request.</summary>
    internal static void End()
    {
        try
        {
            s_response ??= Response.Of(WebEvent.Required);
        }
        catch (Exception exception) when (exception is not FlowControlException)
        {
            Failed(Faults.RecordOf(exception));
        }
        SetEvent(null);
        Shared.AtEnd();
        Block = null;
        Arguments = [];
    }

    private static void SetEvent(Hashtable? made)
    {
        WebEvent.Present = made;
        Session?.PSVariable.Set("global:WebEvent", made);
    }
}
